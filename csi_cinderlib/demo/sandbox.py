"""The sandbox of the demo: a private mount namespace, a temporary directory, and a driver process in it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel, loopctl, removal

CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The directory, and the driver in it."""

    root: Path
    driver: DriverProcess

    def leftovers(self) -> list[str]:
        """Remaining mounts and loop devices of this sandbox."""
        return [f"mount {path}" for path in _mounts(self.root)] + [f"/dev/loop{number}" for number in _loops(self.root)]


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Enter a private mount namespace, start the driver, and remove everything afterwards.

    Raises:
        HostError: the process is not root, or runs in a container that may not mount.
    """
    if os.geteuid() != 0:
        raise HostError("the demo mounts file systems on loop devices; run it as root")
    if not kernel.has_capability(kernel.CAP_SYS_ADMIN):
        raise HostError("the demo needs the capability CAP_SYS_ADMIN to mount; run the container with --privileged")
    private_mounts()
    root = Path(tempfile.mkdtemp(prefix="csi-cinderlib-demo-")).resolve()  # a node refuses paths with links
    driver = None
    try:
        driver = DriverProcess(root)
        yield Sandbox(root, driver)
    finally:
        _undisturbed()
        if driver is not None:
            driver.stop()
        sweep(root)


def private_mounts() -> None:
    """Hide further mounts from other processes. Call it before threads are started: it applies to the calling thread."""
    with kernel.named("a private mount namespace"):
        kernel.call("unshare", CLONE_NEWNS)
        kernel.call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)


def _undisturbed() -> None:
    """Ignore further signals, so that a second Ctrl-C does not interrupt the clean-up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def sweep(root: Path) -> None:
    """Remove a directory with everything that a driver left in it: mounts, loop devices, files."""
    removal.unmount_below(root)
    for number in _loops(root):
        with kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
            loopctl.clear(fd)
    removal.remove_tree(root)


def _mounts(root: Path) -> list[str]:
    """Mount points below `root`, latest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{root}/")]


def _loops(root: Path) -> list[int]:
    return [number for number, path in loopctl.attached().items() if path.startswith(f"{root}/")]
