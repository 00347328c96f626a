"""A place where the demo may do as it likes: an own mount namespace, a temporary directory, and a driver process in it."""

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
    """The directory, and the driver that runs in it."""

    root: Path
    driver: DriverProcess

    def leftovers(self) -> list[str]:
        """Mounts and loop devices of this sandbox that still stand."""
        return [f"mount {path}" for path in _mounts(self.root)] + [f"/dev/loop{number}" for number in _loops(self.root)]


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Enter a private mount namespace, start the driver, and remove every trace afterwards.

    Raises:
        HostError: not root, or in a container that may not mount.
    """
    if os.geteuid() != 0:
        raise HostError("the demo mounts file systems on loop devices: run it as root")
    if not kernel.has_capability(kernel.CAP_SYS_ADMIN):
        raise HostError("the demo needs the capability CAP_SYS_ADMIN to mount: run the container with --privileged")
    private_mounts()
    root = Path(tempfile.mkdtemp(prefix="csi-cinderlib-demo-")).resolve()  # a node takes no path through a link
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
    """Let nobody else see what is mounted from here on. Before any thread is started: it counts for the calling one."""
    with kernel.named("an own mount namespace"):
        kernel.call("unshare", CLONE_NEWNS)
        kernel.call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)


def _undisturbed() -> None:
    """A second Ctrl-C must not interrupt the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def sweep(root: Path) -> None:
    """Remove a directory with whatever a driver left there, from the top down: mounts, loop devices, files."""
    removal.unmount_below(root)
    for number in _loops(root):
        with kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
            loopctl.clear(fd)
    removal.remove_tree(root)


def _mounts(root: Path) -> list[str]:
    """The mount points below `root`, the last mounted first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{root}/")]


def _loops(root: Path) -> list[int]:
    return [number for number, path in loopctl.attached().items() if path.startswith(f"{root}/")]
