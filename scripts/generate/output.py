"""Generated files, written to the repository or compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Output:
    """What a generator writes.

    Attributes:
        files: texts by path below the repository's root.
        owned: glob patterns of files that only this generator writes; other files that match are left over.
    """

    files: Mapping[str, str]
    owned: tuple[str, ...] = ()

    def write(self, root: Path = ROOT) -> None:
        """Write all files and remove those left over from earlier runs."""
        for name in self._left_over(root):
            (root / name).unlink()
        for name, text in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def outdated(self, root: Path = ROOT) -> list[str]:
        """Files that writing would create, change or remove."""
        changed = {name for name, text in self.files.items() if _read(root / name) != text}
        return sorted(changed | self._left_over(root))

    def _left_over(self, root: Path) -> set[str]:
        paths = (path for pattern in self.owned for path in root.glob(pattern))
        return {str(path.relative_to(root)) for path in paths if path.is_file()} - self.files.keys()


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
