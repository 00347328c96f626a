"""Encrypted volumes: cryptsetup, and whether the running kernel can encrypt devices."""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.brick import tools
from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note
from csi_cinderlib.commands.examination.host import Host
from csi_cinderlib.model.encryption import ENCRYPTION

PROGRAMS = ("cryptsetup",)
_WHAT = "encryption"


def examine(host: Host, which: tools.Which | None = None) -> Iterator[Finding]:
    """Only notes: most deployments have no encrypted volumes."""
    if lacking := tools.missing(PROGRAMS, which):
        advice = f"install {tools.PACKAGES[lacking[0]]}, or do not use {ENCRYPTION} in a StorageClass"
        yield note(_WHAT, f"needs {tools.advice(lacking)}", advice)
    else:
        yield modules.finding(host, _WHAT, "dm_crypt", required=False)
