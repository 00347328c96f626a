"""Named places where a test may end the process, to prove that a crash there loses and leaks nothing.

Off unless the environment says so: `CINDERLIB_FAULT_POINT=NAME` ends this process by SIGKILL when NAME is reached,
`NAME:3` the third time. A driver's process takes the controller's with it, unless `CINDERLIB_FAULT_SCOPE=driver`: then the first
process of a back end ends, and its successors do not.
"""

from __future__ import annotations

import itertools
import os
import signal

_name, _, _nth = os.environ.get("CINDERLIB_FAULT_POINT", "").partition(":")
_visits = itertools.count(1)
_victims = [os.getpid]
"""Each answers the number of a process that ends."""


def reach(name: str) -> None:
    """Mark a step that a crash test can choose, `create-volume.record-written` say."""
    if name == _name and next(_visits) == int(_nth or 1):
        for victim in _victims:
            os.kill(victim(), signal.SIGKILL)


def join_controller(pid: int, *, is_first: bool) -> None:
    """In a driver's process: end together with the controller, or alone and once, as the environment says."""
    if os.environ.get("CINDERLIB_FAULT_SCOPE") != "driver":
        _victims.insert(0, lambda: pid)
    elif not is_first:
        _victims.clear()
