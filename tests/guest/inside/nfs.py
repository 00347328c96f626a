"""An NFS server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.inside.shell import modprobe, mounted, require, run, wait_until

SHARE = "127.0.0.1:/volumes"
"""Over NFS 4 the export below is the root."""

_ROOT = Path("/srv/nfs")


@contextmanager
def server(size: str = "600M") -> Iterator[str]:
    """Export a folder of a tmpfs (an overlay cannot be exported); yields the share."""
    require("rpc.nfsd", "rpcbind", "mount.nfs4", "exportfs")
    modprobe("lockd", nlm_timeout=3, nlm_grace_period=3)
    modprobe("loop", "nfsd", "nfs", "nfsv4")
    mounted(Path("/proc/fs/nfsd"), "nfsd")
    mounted(Path("/run/rpc_pipefs"), "rpc_pipefs")
    for folder in ("/var/lib/nfs/nfsdcld", "/var/lib/nfs/v4recovery"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mounted(_ROOT, "tmpfs", f"size={size}")
    (_ROOT / "volumes").mkdir(exist_ok=True)
    (_ROOT / "volumes").chmod(0o777)
    Path("/etc/exports").write_text(f"{_ROOT} *(rw,sync,no_root_squash,no_subtree_check,fsid=0,insecure)\n")
    _start()
    try:
        yield SHARE
    finally:
        run("rpc.nfsd", "0")
        run("exportfs", "-ua")
        run("umount", _ROOT)


@contextmanager
def replaced() -> Iterator[None]:
    """Another file system is exported in its place, as after a failover that went wrong: what is mounted by now is stale."""
    run("mount", "-t", "tmpfs", "replacement", _ROOT)
    run("exportfs", "-f")
    try:
        yield
    finally:
        run("exportfs", "-ua")
        run("umount", "--lazy", _ROOT)  # the server may hold it for a moment
        run("exportfs", "-ra")


def _start() -> None:
    for name in ("nfsv4leasetime", "nfsv4gracetime"):
        Path("/proc/fs/nfsd", name).write_text("10")
    run("nfsdcld")
    run("rpcbind", "-w")
    run("rpc.statd", "--no-notify")
    run("exportfs", "-ra")
    run("rpc.mountd")
    run("rpc.nfsd", "4")
    wait_until(_grace_ended, "the end of the time for reclaiming locks")


def _grace_ended() -> bool:
    """Nobody had locks before this start, so nobody needs to be waited for; the server may know that by itself already."""
    switch = Path("/proc/fs/nfsd/v4_end_grace")
    if switch.read_text().strip() != "Y":
        with contextlib.suppress(OSError):
            switch.write_text("Y")
    return switch.read_text().strip() == "Y"
