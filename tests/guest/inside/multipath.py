"""multipathd, for iSCSI disks only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guest.inside.shell import modprobe, require, run, wait_until

CONFIG = """\
defaults {
    user_friendly_names no
    find_multipaths no
    polling_interval 2
    uxsock_timeout 60000
    no_path_retry 30
    fast_io_fail_tmo 5
    path_grouping_policy multibus
    skip_kpartx yes
}
blacklist {
    devnode "^(ubd|loop|ram|dm-|rbd|nbd)"
}
"""


@contextmanager
def daemon(config: str = CONFIG) -> Iterator[None]:
    """Run multipathd; every disk that comes meanwhile gets a map, as on hosts where promise 21 matters."""
    require("multipathd", "multipath")
    modprobe("dm-multipath", "dm-round-robin", "dm-service-time")
    Path("/etc/multipath.conf").write_text(config)
    run("multipathd")
    wait_until(lambda: "PID" in run("multipathd", "show", "daemon", ok=(0, 1)).upper(), "multipathd")
    try:
        yield
    finally:
        run("multipath", "-F", ok=(0, 1))
        run("multipathd", "shutdown", ok=(0, 1))
        wait_until(lambda: not Path("/run/multipathd.pid").exists(), "the end of multipathd")


def maps() -> set[str]:
    """Names of the multipath maps that exist."""
    lines = run("dmsetup", "ls", "--target", "multipath").splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("No devices")}


def active_paths(name: str) -> int:
    """How many paths of a map work now."""
    status = run("multipathd", "show", "paths", "format", "%m %t %T").splitlines()
    return sum(1 for line in status if line.split()[0] == name and "active" in line and "ready" in line)
