"""A Ceph of one monitor, one manager and one OSD, without authentication."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guest.inside.shell import require, run, wait_until

BINDINGS = Path("/usr/lib/python3/dist-packages")
"""Where Debian's python3-rados and python3-rbd lie: for Debian's own Python, and for any other of the same version."""

_CONFIG = """\
[global]
fsid = {fsid}
# The kernel's client talks by the first protocol. Programs must use the second: by the first, and without authentication to
# wait for, their first command may be sent before the monitor told them the cluster's id, and is refused (EPERM).
mon host = {addresses}
ms bind msgr2 = true
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon data avail crit = 1
mon data avail warn = 1
mon initial members = a
mon osd full ratio = .99
rbd default features = 5
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/log/$name.log
pid file = {folder}/run/$name.pid
crash dir = {folder}/log
keyring = {folder}/keyring
osd class load list = *
osd class default list = *
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[mon]
mon data = {folder}/mon
[mgr]
mgr data = {folder}/mgr
mgr initial modules =
mgr module path = {folder}/no-modules
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd op num shards = 2
osd class update on start = false
osd crush update on start = false
"""


@dataclass(frozen=True, slots=True)
class Ceph:
    config: Path
    pool: str = "rbd"

    def run(self, program: str, *arguments: str) -> str:
        return run(program, "-c", self.config, *arguments)


def python_bindings(folder: Path) -> None:
    """Make Debian's `rados` and `rbd` importable in this process. Skips when they are not for this Python."""
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    found = [path for name in ("rados", "rbd") for path in BINDINGS.glob(f"{name}.{tag}-*.so")]
    if len(found) != 2:
        pytest.skip(f"python3-rbd for Python {sys.version_info.major}.{sys.version_info.minor} is not installed")
    folder.mkdir(exist_ok=True)
    for path in found:
        link = folder / path.name
        if not link.exists():
            link.symlink_to(path)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@contextmanager
def cluster(folder: Path = Path("/run/ceph-test"), port: int = 16789) -> Iterator[Ceph]:
    require("ceph-mon", "ceph-osd", "ceph-mgr", "ceph", "rbd")
    for name in ("mon", "mgr", "osd", "run", "log", "no-modules"):
        (folder / name).mkdir(parents=True)
    config = folder / "ceph.conf"
    fsid = str(uuid.uuid4())
    addresses = f"[v2:127.0.0.1:{port + 1},v1:127.0.0.1:{port}]"
    config.write_text(_CONFIG.format(fsid=fsid, folder=folder, addresses=addresses))
    Path("/etc/ceph").mkdir(exist_ok=True)
    Path("/etc/ceph/ceph.conf").write_text(config.read_text())
    ceph = Ceph(config)
    try:
        _start(ceph, folder, fsid, addresses)
        yield ceph
    finally:
        _stop(folder)


def _start(ceph: Ceph, folder: Path, fsid: str, addresses: str) -> None:
    everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
    run("ceph-authtool", "--create-keyring", folder / "keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    run("ceph-authtool", folder / "keyring", "--gen-key", "-n", "client.admin", *everything)
    run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, folder / "monmap")
    ceph.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"), "--keyring", str(folder / "keyring"))
    ceph.run("ceph-mon", "-i", "a")
    ceph.run("ceph-mgr", "-i", "x")
    osd = str(uuid.uuid4())
    ceph.run("ceph", "osd", "new", osd)
    ceph.run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=h", "root=default")
    ceph.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    ceph.run("ceph-osd", "-i", "0")
    ceph.run("ceph", "osd", "pool", "create", ceph.pool, "8")
    ceph.run("rbd", "pool", "init", ceph.pool)
    wait_until(lambda: "1 up" in ceph.run("ceph", "osd", "stat"), "the OSD")


def _stop(folder: Path) -> None:
    for name in ("osd.0", "mgr.x", "mon.a"):
        pid = folder / "run" / f"{name}.pid"
        if pid.exists() and pid.read_text().strip():
            os.kill(int(pid.read_text()), signal.SIGKILL)
