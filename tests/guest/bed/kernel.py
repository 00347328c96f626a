"""Which User-Mode-Linux kernel to boot: the newer one of Debian's development suite, else Debian 12's."""

from __future__ import annotations

import functools
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import lookup

VARIABLE = "CINDERLIB_GUEST_KERNEL"
"""Set to "debian" to use Debian 12's kernel although the newer one can be had."""
DEBIAN_MODULES = Path("/usr/lib/uml/modules")


class Unavailable(Exception):
    """No guest can run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel program.

    Attributes:
        modules: the folder that holds one folder of modules per kernel version.
        arguments: what its command line wants besides.
    """

    program: Path
    modules: Path
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        versions = sorted(entry.name for entry in self.modules.iterdir()) if self.modules.is_dir() else []
        return versions[-1] if versions else str(self.program)


def fetched() -> Kernel:
    """The newer kernel, which `make tools` fetches. It halves the time of every system call by seccomp=on."""
    try:
        folder = lookup.folder("guest-kernel")
    except lookup.Missing as reason:
        raise Unavailable(str(reason)) from None
    return Kernel(folder / "linux", folder / "modules", ("seccomp=on",))


def debian() -> Kernel:
    """Debian 12's own, as installed."""
    program = shutil.which("linux.uml")
    if program is None or not DEBIAN_MODULES.is_dir():
        raise Unavailable("Debian's package user-mode-linux is not installed")
    return Kernel(Path(program), DEBIAN_MODULES)


def _check_host() -> None:
    if os.geteuid() != 0:
        raise Unavailable("a guest needs root, for its mounts")
    missing = [tool for tool in ("unshare", "setpriv", "taskset", "mount", "udevadm") if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")


def choose(boots: Callable[[Kernel], str]) -> Kernel:
    """The best kernel that boots here.

    Args:
        boots: boots it once and answers "" or why it failed. A good answer is remembered in the cache.

    Raises:
        Unavailable: there is none; names the reason for each.
    """
    _check_host()
    reasons = []
    for find in (debian,) if os.environ.get(VARIABLE) == "debian" else (fetched, debian):
        try:
            kernel = find()
        except Unavailable as reason:
            reasons.append(str(reason))
            continue
        problem = _boots_here(kernel, boots)
        if not problem:
            return kernel
        reasons.append(f"kernel {kernel.name} does not boot: {problem}")
    raise Unavailable("; ".join(reasons))


def _boots_here(kernel: Kernel, boots: Callable[[Kernel], str]) -> str:
    mark = kernel.program.parent / f"boots-on-{platform.release()}"
    if mark.exists():
        return ""
    problem = boots(kernel)
    if not problem and kernel.program.parent != Path("/usr/bin"):
        mark.touch()
    return problem


@functools.cache
def cores() -> tuple[int, ...]:
    """The CPUs of this process: each guest is pinned to one, because handing over between two costs it most of its speed."""
    return tuple(sorted(os.sched_getaffinity(0)))
