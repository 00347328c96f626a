"""Render the chart with each value set of tests/chart/values into tests/chart/snapshots.

python scripts/chart_snapshots.py
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts/csi-cinderlib"
VALUES = ROOT / "tests/chart/values"
SNAPSHOTS = ROOT / "tests/chart/snapshots"
KUBERNETES = "1.35.0"
"""A helm built without version flags takes itself for an old cluster's."""

_MADE_KEY = re.compile(r"^( +keys\.yaml: )\S+$", re.MULTILINE)


def helm() -> str:
    """The path of a helm, built when needed. Raises CalledProcessError with what was said."""
    done = subprocess.run([ROOT / "scripts/build-helm"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def render(program: str, *arguments: str, values: Sequence[Path] = (), kubernetes: str = KUBERNETES) -> str:
    """What `helm template` prints for a release named `storage`. Raises CalledProcessError."""
    files = [f"--values={path}" for path in values]
    command = [program, "template", "storage", str(CHART), "--namespace=csi-cinderlib", f"--kube-version={kubernetes}"]
    return subprocess.run([*command, *files, *arguments], check=True, capture_output=True, text=True).stdout


def snapshot(program: str, name: str) -> str:
    """The same for a value set, without what differs each time: the key that is made at install."""
    return _MADE_KEY.sub(r"\1MADE", render(program, values=[VALUES / f"{name}.yaml"]))


def names() -> list[str]:
    """Of all value sets."""
    return sorted(path.stem for path in VALUES.glob("*.yaml"))


def main() -> None:
    program = helm()
    for name in names():
        (SNAPSHOTS / f"{name}.yaml").write_text(snapshot(program, name))


if __name__ == "__main__":
    main()
