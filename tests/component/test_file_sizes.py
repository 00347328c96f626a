"""No source file has more lines than CONTRIBUTING.md allows."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 400
GENERATED = "csi_cinderlib/csi/v1/"


def test_no_source_file_has_more_than_400_lines() -> None:
    files = [
        path for folder in ("csi_cinderlib", "scripts", "tests", "tools") for path in (ROOT / folder).rglob("*.py")
    ]
    names = {str(path.relative_to(ROOT)): path for path in files}
    lengths = {
        name: len(path.read_text().splitlines()) for name, path in names.items() if not name.startswith(GENERATED)
    }
    assert len(lengths) > 500
    assert {name: length for name, length in lengths.items() if length > LIMIT} == {}
