"""Named places where a test may end the process, to prove that a crash there loses and leaks nothing.

Off unless the environment says so: `CINDERLIB_FAULT_POINT=NAME` ends this process by SIGKILL when NAME is reached,
`NAME:3` the third time.
"""

from __future__ import annotations

import itertools
import os
import signal

_name, _, _nth = os.environ.get("CINDERLIB_FAULT_POINT", "").partition(":")
_visits = itertools.count(1)


def reach(name: str) -> None:
    """Mark a step that a crash test can choose, `create-volume.record-written` say."""
    if name == _name and next(_visits) == int(_nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
