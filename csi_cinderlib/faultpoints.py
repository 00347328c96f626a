"""Named points at which a test can kill the process, to prove that a crash there loses and leaks nothing.

Disabled by default. `CINDERLIB_FAULT_POINT=NAME` kills this process with SIGKILL when it reaches NAME; `NAME:3` when it does so for the
third time. The process of a driver also kills its controller. `CINDERLIB_FAULT_SCOPE=driver` kills only the process of a driver, and only
once, whether the driver or its controller reaches the point.
"""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress

_name, _, _nth = os.environ.get("CINDERLIB_FAULT_POINT", "").partition(":")
_DRIVERS_ONLY = os.environ.get("CINDERLIB_FAULT_SCOPE") == "driver"
_visits = itertools.count(1)
_victims: list[int] = []
"""Processes that are killed together with this one, or instead of it."""
_spares_itself = _DRIVERS_ONLY


def reach(name: str) -> None:
    """Mark a step at which a crash test can kill the process, for example `create-volume.record-written`."""
    if name == _name and next(_visits) == int(_nth or 1):
        for victim in (*_victims, *(() if _spares_itself else (os.getpid(),))):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


def add_driver(pid: int) -> None:
    """Called by a controller that has started the process of a driver."""
    if _DRIVERS_ONLY:
        _victims.append(pid)


def join_controller(pid: int, *, is_first: bool) -> None:
    """Called in the process of a driver: select the processes to kill according to the environment."""
    global _spares_itself  # noqa: PLW0603  # a property of this process
    _victims.clear()
    if _DRIVERS_ONLY:
        _spares_itself = not is_first
    else:
        _victims.append(pid)
