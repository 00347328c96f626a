"""The initiator: iscsid with a name of its own, and what it is connected to."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.inside.shell import modprobe, require, run, wait_until

CONFIG = {
    "node.startup": "manual",
    # Short, so that a path that is down fails over within a test's patience.
    "node.session.timeo.replacement_timeout": "5",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "2",
    "node.conn[0].timeo.login_timeout": "10",
}


@contextmanager
def initiator() -> Iterator[str]:
    """Run iscsid; yields the initiator's name. Logs every session out at the end."""
    require("iscsid", "iscsiadm")
    modprobe("iscsi_tcp", "sd_mod", "sg")
    name = f"iqn.1993-08.org.debian:01:{uuid.uuid4().hex[:12]}"
    Path("/etc/iscsi").mkdir(exist_ok=True)
    Path("/etc/iscsi/initiatorname.iscsi").write_text(f"InitiatorName={name}\n")
    config = Path("/etc/iscsi/iscsid.conf")
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("iscsid.startup", *CONFIG))]
    config.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in CONFIG.items())]) + "\n")
    Path("/run/lock/iscsi").mkdir(parents=True, exist_ok=True)
    run("iscsid")
    wait_until(lambda: Path("/run/iscsid.pid").exists(), "iscsid")
    try:
        yield name
    finally:
        run("iscsiadm", "-m", "node", "-u", ok=(0, 21))
        os.kill(int(Path("/run/iscsid.pid").read_text()), signal.SIGTERM)


def sessions() -> list[str]:
    """One line per session: "PORTAL IQN"."""
    lines = run("iscsiadm", "-m", "session", ok=(0, 21)).splitlines()
    found = (re.search(r"\] ([^,]+),\S+ (\S+)", line) for line in lines)
    return sorted(f"{match[1]} {match[2]}" for match in found if match)


def nodes() -> list[str]:
    """The node records that iscsiadm keeps: "PORTAL IQN"."""
    lines = run("iscsiadm", "-m", "node", ok=(0, 21)).splitlines()
    return sorted(f"{line.partition(',')[0]} {line.split()[-1]}" for line in lines if line)


def disks() -> set[str]:
    """Names of the SCSI disks that this machine has now (sda ...)."""
    return {path.name for path in Path("/sys/block").glob("sd*")}


def states() -> set[str]:
    """The kernel's words for how those are ("running", "blocked", "transport-offline" ...)."""
    found = set()
    for disk in disks():
        with contextlib.suppress(OSError):  # it is gone by now
            found.add(Path(f"/sys/block/{disk}/device/state").read_text().strip())
    return found


def disk() -> str:
    """The device of the only one. The kernel looks at a new disk for a while after the log-in has ended."""
    wait_until(disks, "a disk")
    (name,) = disks()
    return f"/dev/{name}"
