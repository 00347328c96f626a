"""Memory of a process that holds passwords must not end up in a file."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.host import kernel

PR_SET_DUMPABLE = 4
"""linux/prctl.h."""


def forbid() -> None:
    """Let the kernel write no core of this process, nor of those that it forks, whatever handles cores on this host.

    A core limit of 0 forbids a file, and programs that are started inherit it. It does not concern a core that the kernel hands
    to a program (core(5)): that, and reading this process's memory or environment without privileges, ends because the process is
    not dumpable. A program that is started is dumpable again, so a new interpreter has to call this for itself.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextmanager
def owning_proc() -> Iterator[None]:
    """While this lasts, files below /proc/self belong to this process's user, who may then write them, and not to root.

    For a moment in which the process holds no password yet. No core is written all the same: the limit stays.
    """
    kernel.call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        kernel.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
