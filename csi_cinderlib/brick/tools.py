"""The host's own programs that each protocol needs, and where to get them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands

Which = Callable[[str], str | None]

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **commands.PACKAGES,
        "blockdev": "util-linux",
        "dmidecode": "dmidecode",
        "lsblk": "util-linux",
        "lsscsi": "lsscsi",
        "mdadm": "mdadm",
        "mount": "mount",
        "mount.glusterfs": "glusterfs-client",
        "rbd": "ceph-common",
    }
)
"""Program to Debian package."""

_NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "iscsi": ("iscsiadm", "blockdev"),
        "iser": ("iscsiadm", "blockdev"),
        "fibre_channel": ("blockdev",),
        "nvmeof": ("nvme", "blockdev"),
        "nvme": ("nvme", "blockdev"),
        "lightos": ("nvme",),
        "rbd": ("rbd",),
        "nfs": ("mount", "mount.nfs"),
        "glusterfs": ("mount", "mount.glusterfs"),
        "quobyte": ("mount",),
        "scality": ("mount",),
        "vzstorage": ("mount",),
    }
)
_MULTIPATH_PROTOCOLS = frozenset({"iscsi", "iser", "fibre_channel"})


def needed(protocol: str, *, multipath: bool = False) -> tuple[str, ...]:
    """The programs without which a volume of that protocol cannot be attached."""
    tools = _NEEDED.get(protocol, ())
    return (*tools, "multipath", "multipathd") if multipath and protocol in _MULTIPATH_PROTOCOLS else tools


def missing(tools: Iterable[str], which: Which | None = None) -> tuple[str, ...]:
    """Those that this host does not have."""
    return tuple(tool for tool in tools if (which or _which)(tool) is None)


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{commands.SEARCH_PATH}")


def require(protocol: str, *, multipath: bool = False, which: Which | None = None) -> None:
    """Make sure that a volume of that protocol can be attached here.

    Raises:
        HostError: names each missing program and the Debian package that has it.
    """
    if lacking := missing(needed(protocol, multipath=multipath), which):
        raise HostError(f"{protocol} volumes need {advice(lacking)}")


def advice(tools: Iterable[str]) -> str:
    """One clause about programs that are not there: "iscsiadm (Debian package open-iscsi), which this host lacks"."""
    names = [f"{tool} (Debian package {PACKAGES[tool]})" if tool in PACKAGES else tool for tool in tools]
    return f"{' and '.join(names)}, which this host lacks"
