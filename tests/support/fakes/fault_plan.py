"""What a fake driver's calls do instead of working: fail, hang, end the process, or answer something of the wrong type.

A fault is written as `METHOD[:N][@after]=ACTION`: at the Nth call only (otherwise at each), before the call has any effect or
after it. ACTION is a name in ERRORS, ENDS or ANSWERS, or "hang", "slow" or "block".
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SLOW_SECONDS = 2.0
BLOCK_SECONDS = 6
"""In which no thread of the process runs Python code: a library in C that does not release the interpreter's lock."""
PROGRAM_SECONDS = "86399"
"""Of a program that hangs, by which tests find it."""
ORPHAN_SECONDS = 120.0
ANOTHER_VOLUME = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@dataclass(frozen=True)
class Failure:
    """An error as a driver of Cinder raises it; `{id}` and `{name}` stand for the object's.

    Attributes:
        exception: the class in `cinder.exception`.
        values: its arguments.
        seen_in: a file below `cinder/volume/drivers` that raises it, or whose array answers in such words.
    """

    exception: str
    values: Mapping[str, str]
    seen_in: str

    def to_exception(self, id: str) -> Exception:
        from cinder import exception

        values = {key: value.format(id=id, name=f"volume-{id}") for key, value in self.values.items()}
        error: Exception = getattr(exception, self.exception)(**values)
        return error


def _said(message: str, seen_in: str) -> Failure:
    return Failure("VolumeBackendAPIException", {"data": message}, seen_in)


ERRORS: Mapping[str, Failure] = {
    "exists": _said("Volume by this name already exists", "dell_emc/xtremio.py"),
    "duplicate": Failure(
        "Duplicate", {"message": "Volume ({name}) already exists on array."}, "hpe/hpe_3par_common.py"
    ),
    "volume-not-found": Failure("VolumeNotFound", {"volume_id": "{id}"}, "toyou/acs5000/acs5000_common.py"),
    "mapping-not-found": Failure("VolumeNotFound", {"volume_id": "{name}"}, "dell_emc/xtremio.py, find_lunmap"),
    "other-volume-not-found": Failure("VolumeNotFound", {"volume_id": ANOTHER_VOLUME}, "solidfire.py, of a source"),
    "snapshot-not-found": Failure(
        "SnapshotNotFound", {"snapshot_id": "snapshot-of-the-clone"}, "netapp/dataontap/client/client_cmode_rest.py"
    ),
    "own-snapshot-not-found": Failure("SnapshotNotFound", {"snapshot_id": "{id}"}, "vastdata/driver.py"),
    "already-mapped": _said("LUN {name} is already mapped, its size cannot be changed", "ceph/rbd_iscsi.py"),
    "maximum-size": _said("2 GiB is greater than the maximum volume size", "fujitsu/eternus_dx/constants.py"),
    "host-does-not-exist": _said("host does not exist", "hpe/hpe_3par_common.py"),
    "timed-out": _said("timed out waiting for the job of {name}", "dell_emc/powermax/rest.py"),
}


def _leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(ORPHAN_SECONDS)
    os._exit(3)


def _leave_a_service() -> None:
    """As a FUSE daemon, which makes a session of its own before the program that started it ends."""
    ready, written = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.write(written, b"!")
        time.sleep(ORPHAN_SECONDS)
        os._exit(0)
    os.read(ready, 1)  # until then it belongs to the group that ends with this process
    os._exit(3)


def _run_a_program() -> None:
    """As lvcreate or a vendor's tool."""
    subprocess.run(["sleep", PROGRAM_SECONDS], check=False)


ENDS: Mapping[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "exit-and-leave-a-child": _leave_a_child,
    "exit-and-leave-a-service": _leave_a_service,
    "run-a-program": _run_a_program,
    "close-files": lambda: os.closerange(3, 1024),
    "exit-thread": sys.exit,
}
"""How a driver takes the process along: the out-of-memory killer, a vendor's C library that gives up, one that crashes, one that
leaves a process behind that has all its files, be it a service or not, a library that closes files which are not its own, and one that gives up politely."""

ANSWERS: Mapping[str, Callable[[Any], Any]] = {
    "none": lambda _answer: None,
    "pairs": lambda answer: list(answer.items()),
    "bytes": lambda answer: {key: value.encode() for key, value in answer.items()},
    "integers": lambda answer: {key: int(value) if value.isdigit() else value for key, value in answer.items()},
    "unknown-keys": lambda answer: {**answer, "lun_wwn": "60050768", "vendor": {"pool": object()}, "migration": None},
    "text": str,
    "no-pools": lambda answer: {**answer, "pools": []},
    "nameless-pools": lambda answer: {**answer, "pools": [{"total_capacity_gb": 10, "free_capacity_gb": 10}]},
    "text-capacities": lambda answer: {
        **answer,
        "pools": [
            {"pool_name": name, "total_capacity_gb": total, "free_capacity_gb": free}
            for name, total, free in (("a", "infinite", "unknown"), ("b", "1000", "1000.5"), ("c", "1,000", ""))
        ],
    },
}
"""Answers of the wrong type, made from the right one. `stats` come with "infinite" (lightos.py), "unknown" (open_e/iscsi.py) and
numbers as text; a model update with ids as integers (hitachi/hbsd_common.py keeps LDEV numbers) or with keys that are no columns."""

_FAULT = re.compile(r"(?P<method>\w+)(:(?P<nth>\d+))?(?P<after>@after)?=(?P<action>[\w-]+)$")


@dataclass(frozen=True)
class _Fault:
    method: str
    nth: int
    after: bool
    action: str


class FaultPlan:
    """The faults of one driver. Thread-safe.

    Attributes:
        hanging: set when a call hangs.
        released: set it, and the calls that hang go on.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self._faults = [_parse(fault) for fault in faults]
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._guard = threading.Lock()
        self.hanging = threading.Event()
        self.released = threading.Event()

    def before(self, method: str, id: str) -> None:
        self._act(method, id, None, after=False)

    def after(self, method: str, id: str, answer: Any) -> Any:
        """The answer, or another one."""
        return self._act(method, id, answer, after=True)

    def _act(self, method: str, id: str, answer: Any, *, after: bool) -> Any:
        with self._guard:
            self._counts[method, after] += 1
            count = self._counts[method, after]
        for fault in self._faults:
            if (fault.method, fault.after) == (method, after) and fault.nth in (0, count):
                answer = self._do(fault.action, id, answer)
        return answer

    def _do(self, action: str, id: str, answer: Any) -> Any:
        if action == "hang":
            self.hanging.set()
            self.released.wait()
        elif action == "slow":
            time.sleep(SLOW_SECONDS)
        elif action == "block":
            ctypes.PyDLL(None).sleep(BLOCK_SECONDS)
        elif action in ENDS:
            ENDS[action]()
        elif action in ANSWERS:
            return ANSWERS[action](answer or {})
        else:
            raise ERRORS[action].to_exception(id)
        return answer


def _parse(text: str) -> _Fault:
    match = _FAULT.match(text)
    assert match, f"not a fault: {text!r}"
    fault = _Fault(match["method"], int(match["nth"] or 0), bool(match["after"]), match["action"])
    assert fault.action in {"hang", "slow", "block", *ERRORS, *ENDS, *ANSWERS}, f"unknown action: {text!r}"
    assert fault.after or fault.action not in ANSWERS, f"there is no answer before the call: {text!r}"
    return fault
