"""The pages about Kubernetes quote messages and name values that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chart.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = (
    DOCS / "how-to/install-on-kubernetes.md",
    DOCS / "how-to/upgrade.md",
    DOCS / "how-to/troubleshoot.md",
    DOCS / "explanation/security-model.md",
)
KUBERNETES_SAYS = (
    "at '/controller/",
    "updates to parameters are forbidden",
    "requires kubeVersion",
    "violates PodSecurity",
    "didn't have free ports",
    "is not a shared mount",
    'secret "csi-cinderlib-controller-sealing" not found',
    "waiting for first consumer to be created",
    "waiting for a volume to be created",
    "by the external provisioner",
    "node(s) did not have enough free storage",
    "node(s) had no available volume zone",
    "volume node affinity conflict",
    "driver name csi.cinderlib.io not found in the list of registered CSI drivers",
    "Multi-Attach error",
    "exceed max volume count",
    "FileSystemResizePending",
)


def ours() -> str:
    """All texts of the program and the chart, with the pieces of a message that stand on several lines put together."""
    paths = [*(ROOT / "csi_cinderlib").rglob("*.py"), *(ROOT / "charts").rglob("*.tpl"), ROOT / "deploy/host-tool"]
    text = "\n".join(path.read_text() for path in paths if "csi/v1" not in str(path))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_the_symptoms_are_messages_that_exist() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "how-to/troubleshoot.md").read_text(), re.MULTILINE)
    quoted = [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row) if not phrase.startswith("kubectl")]
    pieces = {piece.strip(" :;") for phrase in quoted for piece in phrase.split("...")}
    known = ours()
    unknown = [piece for piece in sorted(pieces) if piece not in known and piece not in KUBERNETES_SAYS]
    assert len(pieces) > 40
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_values_that_are_named_are_values(page: Path) -> None:
    known = set(re.findall(r"^\| `([\w.]+)`", (ROOT / "charts/csi-cinderlib/README.md").read_text(), re.MULTILINE))
    tops = {name.partition(".")[0] for name in known}
    named = re.findall(r"(?<![/\w.-])(\w+(?:\.\w+)+)(?=[=:`\s])", page.read_text())
    about = {name for name in named if name.partition(".")[0] in tops and not name.endswith((".yaml", ".io"))}
    assert {name for name in about if name not in known} == set()
