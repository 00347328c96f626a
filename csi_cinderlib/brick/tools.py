"""The programs that each protocol needs, their packages, and whether they are installed.

In the node's image some are links to `host-tool` (deploy/host-tool), which runs the host's program; these are searched for on the
host.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands

Which = Callable[[str], str | None]

PROTOCOLS = ("iscsi", "fibre_channel", "nvmeof", "nfs", "rbd")
"""The protocols checked by `doctor` and at node start."""

HOST_ROOT = Path("/proc/1/root")
"""The host's file system, seen from a container that has the host's processes (hostPID)."""

_FIRST_MOUNTS = Path("/proc/1/ns/mnt")
"""The mount namespace of the first visible process."""

_HOST_TOOL = "host-tool"

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **commands.PACKAGES,
        "blkid": "util-linux",
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
"""Debian packages by program."""

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
        "quobyte": ("mount", "mount.quobyte"),
        "scality": ("mount", "mount.sofs"),
        "vzstorage": ("pstorage-mount",),
    }
)
MULTIPATH = ("multipath", "multipathd")
SCSI = frozenset({"iscsi", "iser", "fibre_channel"})
"""Protocols whose volumes are SCSI disks; multipathd combines their paths into one map."""


def needed(protocol: str, *, multipath: bool = False) -> tuple[str, ...]:
    """The programs required to attach a volume with that protocol."""
    tools = _NEEDED.get(protocol, ())
    return (*tools, *MULTIPATH) if multipath and protocol in SCSI else tools


def missing(tools: Iterable[str], which: Which | None = None) -> tuple[str, ...]:
    """The tools that cannot be run here. Tools run by `host-tool` must be installed on the host."""
    return tuple(tool for tool in tools if (which or _which)(tool) is None)


def lacking(*, multipath: bool = False, which: Which | None = None) -> Mapping[str, tuple[str, ...]]:
    """The missing programs by protocol, for the protocols in PROTOCOLS."""
    found = {protocol: missing(needed(protocol, multipath=multipath), which) for protocol in PROTOCOLS}
    return {protocol: tools for protocol, tools in found.items() if tools}


def of_host(tool: str) -> bool:
    """Whether this container runs the host's program, with the host's configuration."""
    path = _find(tool)
    return path is not None and Path(path).resolve().name == _HOST_TOOL


def require(protocol: str, *, multipath: bool = False, which: Which | None = None) -> None:
    """Check that a volume can be attached with that protocol.

    Raises:
        HostError: names each missing program and its Debian package.
    """
    if absent := missing(needed(protocol, multipath=multipath), which):
        raise HostError(f"{protocol} volumes require {advice(absent)}")


def advice(tools: Iterable[str]) -> str:
    """A clause about missing programs: "iscsiadm (Debian package open-iscsi), which is not installed on this host"."""
    tools = tuple(tools)
    names = [f"{tool} (Debian package {PACKAGES[tool]})" if tool in PACKAGES else tool for tool in tools]
    return f"{' and '.join(names)}, which {_why_absent(tools)}"


def _why_absent(tools: tuple[str, ...]) -> str:
    if any(of_host(tool) for tool in tools):
        if not sees_host():
            return "this container cannot run on the host; the container must be privileged and use hostPID"
        return "is not installed on this host; install it on the host itself, not in the container"
    return f"is not installed {'in this image' if _find(_HOST_TOOL) else 'on this host'}"


def _which(tool: str) -> str | None:
    return _on_host(tool) if of_host(tool) else _find(tool)


def _find(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{commands.SEARCH_PATH}")


def sees_host() -> bool:
    """Whether the first process is the host's, not the container's."""
    try:
        return HOST_ROOT.is_dir() and not os.path.samefile(_FIRST_MOUNTS, "/proc/self/ns/mnt")  # noqa: PTH121
    except OSError:
        return False


def _on_host(tool: str) -> str | None:
    """The path that `host-tool` would run."""
    if not sees_host():
        return None
    for folder in commands.SEARCH_PATH.split(":"):
        path = Path(f"{HOST_ROOT}{folder}/{tool}")
        if os.access(path, os.X_OK) or path.is_symlink():  # a link may only resolve on the host
            return str(path)
    return None
