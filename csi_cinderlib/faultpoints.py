"""Named places where a test may end the process, to prove that a crash there loses and leaks nothing.

Off unless the environment says so: `CINDERLIB_FAULT_POINT=NAME` ends this process by SIGKILL when NAME is reached,
`NAME:3` the third time. A driver's process takes the controller's with it. With `CINDERLIB_FAULT_SCOPE=driver` the process of a
driver ends alone, and once, wherever the point is: in it, or in the controller that it works for.
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
"""Processes that end beside this one, or instead of it."""
_spares_itself = _DRIVERS_ONLY


def reach(name: str) -> None:
    """Mark a step that a crash test can choose, `create-volume.record-written` say."""
    if name == _name and next(_visits) == int(_nth or 1):
        for victim in (*_victims, *(() if _spares_itself else (os.getpid(),))):
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)


def add_driver(pid: int) -> None:
    """In a controller: there is a driver's process."""
    if _DRIVERS_ONLY:
        _victims.append(pid)


def join_controller(pid: int, *, is_first: bool) -> None:
    """In a driver's process: end together with the controller, or alone and once, as the environment says."""
    global _spares_itself  # noqa: PLW0603  # a property of this process
    _victims.clear()
    if _DRIVERS_ONLY:
        _spares_itself = not is_first
    else:
        _victims.append(pid)
