"""Clients of shares and Ceph: their kernel modules and daemons."""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host

_FUSE = frozenset({"glusterfs", "quobyte", "vzstorage"})
_VENDOR_MODULES = {"scaleio": "scini", "storpool": "storpool_disk", "gpfs": "mmfs26"}
"""Kernel module of a vendor's client, by protocol."""


def examine(host: Host, required: frozenset[str]) -> Iterator[Finding]:
    yield _known(host, "nfs", "nfs", required="nfs" in required)
    yield _known(host, "nfs 4", "nfsv4", file_system="nfs4", required=False)
    yield _statd(host)
    yield modules.finding(host, "rbd module", "rbd", required="rbd" in required)
    yield _ceph(host)
    if required & _FUSE:
        yield _known(host, "fuse", "fuse", required=True)
    for protocol in sorted(required & set(_VENDOR_MODULES)):
        yield modules.finding(host, f"{protocol} module", _VENDOR_MODULES[protocol], required=True)
    if "gpfs" in required:
        yield _gpfs(host)


def _known(host: Host, what: str, module: str, *, file_system: str = "", required: bool) -> Finding:
    name = file_system or module
    if name in (host.text("proc/filesystems") or "").split():
        return ok(f"{what} in the kernel", f"the kernel supports {name}")
    return modules.finding(host, f"{what} in the kernel", module, required=required)


def _statd(host: Host) -> Finding:
    if "rpc.statd" in host.processes():
        return ok("rpc.statd", "is running")
    if host.is_hidden:
        return unknown("rpc.statd", f"cannot be checked: {HIDDEN}", "only needed for NFS 3 with locks")
    return note("rpc.statd", "is not running", "only needed for NFS 3 with locks: systemctl enable --now rpc-statd")


def _ceph(host: Host) -> Finding:
    """Check ceph.conf, which is optional: a volume's connection info contains the monitors and the key."""
    if host.is_hidden:
        return unknown("ceph.conf", f"not checked: {HIDDEN}")
    if host.host_text("etc/ceph/ceph.conf") is None:
        return note(
            "ceph.conf",
            "the host has no /etc/ceph/ceph.conf",
            "only needed if the Ceph cluster requires client options",
        )
    return ok("ceph.conf", "/etc/ceph/ceph.conf")


def _gpfs(host: Host) -> Finding:
    mounted = [
        line.split()[1] for line in (host.text("proc/mounts") or "").splitlines() if line.split()[2:3] == ["gpfs"]
    ]
    if mounted:
        return ok("gpfs mounts", ", ".join(mounted))
    return problem(
        "gpfs mounts", "no file system of type gpfs is mounted", "run on the host: mmmount all", required=True
    )
