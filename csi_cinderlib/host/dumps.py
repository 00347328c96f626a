"""Prevention of core dumps of processes that hold passwords."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.host import kernel

PR_SET_DUMPABLE = 4
"""linux/prctl.h."""


def forbid() -> None:
    """Prevent core dumps of this process and its forks, for any core handler of the host.

    A core limit of 0 prevents a core file, and child processes inherit it. It does not prevent a core piped to a program
    (core(5)). Making the process non-dumpable prevents that, and also unprivileged reads of its memory and environment. A
    process is dumpable again after exec, so a new interpreter must call this itself.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextmanager
def owning_proc() -> Iterator[None]:
    """Temporarily make this process's user the owner of the files below /proc/self, so that they can be written.

    Use it only before the process holds a password. Core files stay disabled by the limit.
    """
    kernel.call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        kernel.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
