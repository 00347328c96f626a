"""Write what is made in the chart and its tests: the custom resource definitions, README.md, and tests/chart/snapshots.

python scripts/generate_chart.py
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from csi_cinderlib.commands import crds
from tools import lookup

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts/csi-cinderlib"
VALUES = ROOT / "tests/chart/values"
SNAPSHOTS = ROOT / "tests/chart/snapshots"
RELEASE = "storage"
KUBERNETES = "1.35.0"
"""A helm built without version flags takes itself for an old cluster's."""

_KEY = re.compile(r"( *)([A-Za-z]\w*):")

USUAL = {
    "image": "The container's image.",
    "resources": "As in a container.",
    "nodeSelector": "As in a pod.",
    "tolerations": "As in a pod.",
    "affinity": "As in a pod.",
    "topologySpreadConstraints": "As in a pod.",
    "priorityClassName": "As in a pod.",
    "podAnnotations": "For the pod.",
    "podLabels": "For the pod.",
    "updateStrategy": "As in the workload.",
    "annotations": "For the object.",
    "labels": "For the object.",
    "additionalArgs": "More arguments for it.",
    "repository": "Where the image is.",
    "pullPolicy": "As in a container.",
    "enabled": "Whether there is one.",
    "maxUnavailable": "As in a PodDisruptionBudget.",
    "interval": "Between two scrapes.",
}
"""What keys mean that say it by their names, as everywhere in Kubernetes."""


def render(program: str, *, values: Sequence[Path] = (), release: str = RELEASE, kubernetes: str = KUBERNETES) -> str:
    """What `helm template` prints. Raises CalledProcessError."""
    files = [f"--values={path}" for path in values]
    command = [program, "template", release, str(CHART), "--namespace=csi-cinderlib", f"--kube-version={kubernetes}"]
    return subprocess.run([*command, *files], check=True, capture_output=True, text=True).stdout


def snapshot(program: str, name: str) -> str:
    """What it prints for a value set."""
    return render(program, values=[VALUES / f"{name}.yaml"])


def names() -> list[str]:
    """Of all value sets."""
    return sorted(path.stem for path in VALUES.glob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Row:
    """A value: its path, its default as JSON ("" for one that holds others), and what it means."""

    path: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """From the comments of values.yaml: each stands above its key."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    above: list[str] = []
    path: list[str] = []
    leaf_depth: int | None = None
    for line in (CHART / "values.yaml").read_text().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        if line.lstrip().startswith("#"):
            above.append(line.strip().removeprefix("#").removeprefix(" "))
        elif not line.strip():
            above = []
        elif (key := _KEY.match(line)) and (leaf_depth is None or depth <= leaf_depth):
            path = [*path[:depth], key[2]]
            value = _at(values, path)
            holds = isinstance(value, dict) and bool(value) and line.rstrip().endswith(":")
            whole = not holds or (key[2] in USUAL and key[2] not in ("image",))
            leaf_depth = depth if whole else None
            if whole or above:
                yield Row(".".join(path), json.dumps(value) if whole else "", _meaning(above, key[2]))
            above = []


def _at(values: Any, path: Sequence[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def _meaning(above: Sequence[str], key: str) -> str:
    """The comment as one line; its example, which is indented, is left to values.yaml."""
    text = " ".join(line for line in above if not line.startswith("  "))
    return text or USUAL[key]


def readme() -> str:
    """The chart's README."""
    head = (ROOT / "scripts/docs/chart-head.md").read_text()
    sections: dict[str, list[Row]] = {}
    for row in rows():
        top = row.path.partition(".")[0]
        grouped = top in ("controller", "node", "sidecars")
        sections.setdefault(top if grouped else "general", []).append(row)
    parts = ["<!-- Made by scripts/generate_chart.py from values.yaml; change that instead. -->\n", head]
    for name, found in sections.items():
        title = "Values" if name == "general" else f"Values below `{name}`"
        lines = [f"| `{row.path}` | {f'`{row.default}`' if row.default else ''} | {row.meaning} |" for row in found]
        parts.append("\n".join([f"## {title}\n", "| value | default | meaning |", "| --- | --- | --- |", *lines, ""]))
    return "\n".join(parts)


def main() -> None:
    (CHART / "crds/cinderlib.io.yaml").write_text(crds.text())
    (CHART / "README.md").write_text(readme())
    program = str(lookup.program("helm"))
    for name in names():
        (SNAPSHOTS / f"{name}.yaml").write_text(snapshot(program, name))


if __name__ == "__main__":
    main()
