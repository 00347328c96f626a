"""A driver process, the calls to it, and its output."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from enum import StrEnum
from typing import Any

from csi_cinderlib.backend import forking, secret_values
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.channels import Channels
from csi_cinderlib.backend.wire import PING, Gone, Handlers, Peer, Unexpected
from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.observe import logs, redact

SERVE = "csi_cinderlib.cinder.driver_process:serve"
"""By name, since this process must not import it."""
PING_SECONDS = 10.0
"""The interval between checks that the process is running."""
HUNG_SECONDS = 30.0
"""A process that does not respond to a check within this time is killed: native code that never returns blocks all its threads."""
BROKEN_SECONDS = 1.0
"""The time that a process has to end by itself after its connection was lost."""
STORE_THREADS = 32
"""The number of concurrent store requests of one driver."""

_log = logs.logger(__name__)


class Cause(StrEnum):
    """Why a driver process ended."""

    CRASHED = "crashed"
    KILLED = "killed"
    """By SIGKILL from outside, for example from the kernel when memory runs out."""
    HUNG = "hung"
    REQUESTED = "requested"


def _context() -> tuple[str, tuple[str, ...]]:
    """The id of this thread's request, and the secrets to hide in the log."""
    return logs.request_id(), redact.hidden()


_ENDS = {Cause.HUNG: "stopped responding and was killed", Cause.REQUESTED: "was stopped as requested"}


class Line:
    """A driver process. Constructing a Line forks the process, which may take long on a busy machine. `open` starts the communication.

    Args:
        handlers: the functions that the process may call.
        shared: the file of the deadline.
        lost: called once when the process has ended.
    """

    def __init__(
        self, assignment: Assignment, handlers: Handlers, *, shared: int, lost: Callable[[Line], None]
    ) -> None:
        settings = assignment.settings
        self.name = settings.name
        self.process = forking.Process(SERVE, assignment, name=f"csi:{self.name}", shared=shared)
        self.ended = threading.Event()
        self._why: Cause | None = None
        self._lost = lost
        self._secrets = (*secret_values.of(settings), *redact.secrets_in(assignment.cinder_defaults))
        self.peer = Peer(
            self.process.connection,
            handlers,
            name=f"store-{self.name}",
            threads=STORE_THREADS,
            context=_context,
            gone=self._gone,
        )
        self.channels = Channels(self.process.doorbell, handlers, self.peer, context=_context, broken=self._end_broken)

    def open(self) -> None:
        """Start to read its output and its calls."""
        threading.Thread(target=self._relay, name=f"output-{self.name}", daemon=True).start()
        self.peer.start()

    def set_up(self, seconds: float, verb: str = "start") -> Any:
        """Have the process set up its driver; returns its answer.

        Args:
            verb: "check_options" loads the driver and checks its options only.

        Raises:
            ConfigurationError, HostError: as the process found out.
            BackendUnavailable: the storage does not respond, the process ended, or the set-up took too long.
        """
        try:
            return self._answer_within(seconds, self.peer.begin(verb))
        except TooLate as error:
            raise BackendUnavailable(self.name, f"set-up did not finish within {seconds:.0f} s") from error
        except Unexpected as error:
            raise BackendUnavailable(self.name, f"{error}; see the log") from error
        except Gone as error:
            self.process.wait(HUNG_SECONDS)
            raise BackendUnavailable(self.name, f"the driver process {self.end} during set-up") from error

    def _answer_within(self, seconds: float, answer: Future[Any]) -> Any:
        """Wait for the answer, and kill the process if it hangs. Raises TooLate, or what the answer raises."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > PING_SECONDS:
            try:
                return answer.result(PING_SECONDS)
            except TooLate:
                self._end_if_hung()
        return answer.result(left)

    def wait_until_ended(self) -> None:
        """Wait until the process ends, and kill it if it hangs."""
        while not self.ended.wait(PING_SECONDS):
            self.channels.close_unneeded()
            self._end_if_hung()

    def _end_if_hung(self) -> None:
        if not self._runs() and not self.ended.is_set():
            _log.error("hung driver process killed", backend=self.name, pid=self.process.pid)
            self._why = Cause.HUNG
            self.process.kill()

    def _runs(self) -> bool:
        """Whether it answers. Checks twice, since this process may itself have been stopped while the answer was waiting."""
        for seconds in (HUNG_SECONDS, 2.0):
            try:
                self.peer.begin(PING).result(seconds)
            except TooLate:
                continue
            except Gone:
                pass  # it is ending
            return True
        return False

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        return self.channels.calls + self.peer.calls

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no call is in progress. False on timeout."""
        began = time.monotonic()
        return self.channels.wait_until_idle(seconds) and self.peer.wait_until_idle(began + seconds - time.monotonic())

    @property
    def cause(self) -> Cause:
        """Why the process ended."""
        return self._why or (Cause.KILLED if self.process.was_killed else Cause.CRASHED)

    @property
    def end(self) -> str:
        """How it ended, as a clause."""
        return _ENDS.get(self.cause, self.process.end)

    def kill(self, why: Cause | None = None) -> None:
        """Kill the process and wait for its end."""
        self._why = self._why or why
        self.process.kill()
        self.process.wait(HUNG_SECONDS)

    def _end_broken(self) -> None:
        """Make sure that the process ends: it lost the connection of a call that it may still be executing."""
        if not self.process.wait(BROKEN_SECONDS):
            self._why = self._why or Cause.CRASHED
            self.process.kill()

    def close(self) -> None:
        """Kill the process without waiting, and close the connection."""
        self.process.kill()
        self.channels.close()
        self.peer.close()

    def _relay(self) -> None:
        output = self.process.output
        with output, redact.hiding(self._secrets):
            for line in logs.lines(output):
                logs.relay(line, _log, backend=self.name, pid=self.process.pid)

    def _gone(self) -> None:
        self.channels.close()
        self.kill()  # it is usually ending already, but its successor must not run at the same time
        self.ended.set()
        self._lost(self)
