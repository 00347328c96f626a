"""A back end whose driver runs in a process of its own: what the controller calls, and how that process lives and ends."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from functools import partial
from types import NoneType
from typing import Any, Protocol, TypeVar

from csi_cinderlib.backend import remote_store
from csi_cinderlib.backend.api import NOT_STARTED, Check, anybody
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.line import Cause, Line
from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, Candidate, RatedStats, has_functions
from csi_cinderlib.backend.wire import Gone, Unexpected
from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.persistence.api import Store

T = TypeVar("T")
SET_UP_SECONDS = 600.0
"""A set-up that takes longer is given up, its process ended, and tried again."""
DRAIN_SECONDS = 120.0
"""How long calls go on in the process of a back end whose options were changed, or that was removed."""
RECENT_SECONDS = 120.0
"""How long `remark` tells of the end of a process."""
CREATING = frozenset(
    {"create_volume", "resume_create_volume", "create_snapshot", "resume_create_snapshot", "create_group_snapshot"}
    | {"resume_create_group_snapshot", "extend_volume"}
)
"""Calls that may take minutes and come in hundreds (`csi.server.CREATING`)."""
RELEASING = frozenset({"delete_volume", "delete_snapshot", "delete_group_snapshot", "disconnect"})
"""Calls with slots of their own: they give back what others wait for."""
_log = logs.logger(__name__)


class Measured(Protocol):
    """Takes the figures of a driver's process: `observe.metrics.Metrics`."""

    def backend_called(self, backend: str, operation: str, result: str, seconds: float) -> None: ...


class RemoteBackend:
    """See `api.BackEnd`; what the calls do and raise, `backend.Backend` says.

    A call whose process ends under it raises BackendUnavailable: its record says how far it came, and a retry goes on from there.

    Args:
        assign: what the process is told; given whether it is the first one.
        deadline: until when this process may act.
        bulkhead: of all back ends.
        metrics: where the driver's figures go.
        set_up_seconds: another limit than SET_UP_SECONDS.
    """

    def __init__(
        self,
        assign: Callable[[bool], Assignment],
        *,
        store: Store,
        deadline: Deadline,
        bulkhead: Bulkhead,
        metrics: Measured | None = None,
        set_up_seconds: float = 0.0,
    ) -> None:
        self.settings = assign(True).settings
        self.name = self.settings.name
        self.failure = NOT_STARTED
        self._assign = assign
        self._store = store
        self._deadline = deadline
        self._bulkhead = bulkhead
        self._metrics = metrics
        self._set_up_seconds = set_up_seconds
        self._last_end, self._last_end_at = "", -math.inf
        self.last_cause = Cause.CRASHED
        """Why the last process ended that was not stopped."""
        self._problem = ""
        self._capabilities: BackendCapabilities | None = None
        self._last: BackendStats | None = None
        self._asking = threading.Lock()
        self._asked: Future[Any] | None = None
        self._latest: Line | None = None
        self._line: Line | None = None
        self._starting = threading.Lock()
        self._guard = threading.Lock()
        self._is_stopped = False
        self._is_first = True
        self._checks: dict[int, Check] = {}
        self._tokens = itertools.count()
        self._show_secrets = redact.hide_in_process(redact.secrets_in(self.settings.options))

    # --- being there

    @property
    def ready(self) -> bool:
        return self._line is not None

    @property
    def problem(self) -> str:
        return self._problem if self.ready else self.failure

    @property
    def remark(self) -> str:
        if time.monotonic() - self._last_end_at > RECENT_SECONDS:
            return ""
        return f"{self._last_end}, and was started again"

    @property
    def pid(self) -> int:
        """Of the driver's process; 0 while there is none."""
        line = self._line
        return line.process.pid if line else 0

    @property
    def capabilities(self) -> BackendCapabilities:
        if self._capabilities is None or not self.ready:
            raise BackendUnavailable(self.name, self.failure)
        return self._capabilities

    def without_secrets(self, error: DriverError) -> str:
        """What an error says, fit to be shown: drivers quote what they were given."""
        with redact.hiding(redact.secrets_in(self.settings.options)):
            return redact.text(error.message if isinstance(error, BackendError) else str(error))

    def start(self) -> None:
        """Start the driver's process and set the driver up. Does nothing when ready.

        Raises:
            ConfigurationError, HostError: as the process found out.
            BackendUnavailable: the storage does not answer, or the process ended; start again later.
        """
        with self._starting:
            if self.ready:
                return
            try:
                self._start()
            except DriverError as error:
                self.failure = "stopped" if self._is_stopped else self.without_secrets(error)
                raise

    def _start(self) -> None:
        with self._guard:
            self._refuse_stopped()
            assignment, self._is_first = self._assign(self._is_first), False
        line = self._latest = Line(assignment, self._handlers(), shared=self._deadline.file, lost=self._lose)
        line.open()
        try:
            self._refuse_stopped()  # while it was forked
            self._capabilities, self._last = line.set_up(self._set_up_seconds or SET_UP_SECONDS)
            self._use(line)
        except BaseException:
            line.close()
            raise
        _log.info("driver's process is ready", backend=self.name, pid=line.process.pid)

    def _use(self, line: Line) -> None:
        with self._guard:
            self._refuse_stopped()
            self._line, self.failure = line, ""
        if line.ended.is_set():  # it ended just now
            self._lose(line)
            raise BackendUnavailable(self.name, self.failure)

    def _refuse_stopped(self) -> None:
        if self._is_stopped:
            raise BackendUnavailable(self.name, "stopped")

    def _handlers(self) -> dict[str, Any]:
        return {
            **remote_store.served(self._store),
            "check": self._check,
            "measured": self._measured,
        }

    def _lose(self, line: Line) -> None:
        with self._guard:
            if self._line is line:
                self.failure = self._last_end = f"its driver's process {line.end}"
                self.last_cause = line.cause
                self._last_end_at = time.monotonic()
                self._line = None

    def wait_until_ended(self) -> str:
        """Wait until the process ends, or hangs and is ended; how, as a clause, or "" after `stop`."""
        if (line := self._line) is not None:
            line.wait_until_ended()
        return "" if self._is_stopped else self.failure

    def kill(self, why: Cause | None = None) -> None:
        """End the process at once, whatever it does."""
        if (line := self._latest) is not None:
            line.kill(why)

    def stop(self) -> None:
        """Take no new calls, and end the process once those that run have ended, at the latest after DRAIN_SECONDS.

        Its volumes and connections stay as they are.
        """
        with self._guard:
            if self._is_stopped:
                return
            self._is_stopped, self.failure = True, "stopped"
            line, self._line = self._line, None
        if line is None:
            self.kill()  # it may be in its set-up
            self._show_secrets()
        else:
            line.peer.tell("leave")
            threading.Thread(target=self._drain, args=(line,), name=f"drain-{self.name}", daemon=True).start()

    def _drain(self, line: Line) -> None:
        if not line.peer.wait_until_idle(DRAIN_SECONDS):
            _log.warning("calls were still at work and were left", backend=self.name, calls=line.peer.calls)
        self.kill()
        self._show_secrets()

    # --- verbs

    def stats(self, *, refresh: bool = False) -> BackendStats:
        """The driver's report, at most `stats_seconds` old, less what was created since."""
        return self._answered(self._begin("stats", refresh=True) if refresh else self._question())

    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        """See `api.BackEnd`. Of an array that hangs the last report has to do, if no function has a say."""
        return partial(self._rated, self._begin("rated_stats", candidate))

    def _rated(self, question: Future[Any], seconds: float) -> RatedStats:
        try:
            rated: RatedStats = question.result(seconds)
        except TooLate:
            assert self._last is not None, "the set-up brought one"
            if has_functions(self._last):
                raise BackendUnavailable(self.name, "it does not answer") from None
            return self._last, {}
        except Gone:
            raise BackendUnavailable(self.name, "its driver's process ended during the call") from None
        except Unexpected as error:
            raise BackendUnavailable(self.name, f"{error}; the log tells more") from None
        return rated

    def _question(self) -> Future[Any]:
        """The one that is under way, or a new one: no driver is asked twice at a time."""
        with self._asking:
            if self._asked is None or self._asked.done():
                self._asked = self._begin("stats", refresh=False)
            return self._asked

    def _answered(self, question: Future[Any]) -> BackendStats:
        try:
            self._last, self._problem = question.result()
        except Gone:
            raise BackendUnavailable(self.name, "its driver's process ended during the call") from None
        except Unexpected as error:
            self._problem = self.without_secrets(BackendUnavailable(self.name, f"{error}; the log tells more"))
            raise BackendUnavailable(self.name, self._problem) from None
        except DriverError as error:
            self._problem = self.without_secrets(error)
            raise
        assert self._last is not None
        return self._last

    def create_volume(self, record: Volume) -> Volume:
        return self._call(Volume, "create_volume", record)

    def resume_create_volume(self, record: Volume) -> Volume:
        return self._call(Volume, "resume_create_volume", record)

    def delete_volume(self, record: Volume) -> None:
        self._call(NoneType, "delete_volume", record)

    def extend_volume(self, record: Volume, size: GiB) -> Volume:
        return self._call(Volume, "extend_volume", record, size)

    def revert_volume(self, record: Volume, snapshot: Snapshot) -> Volume:
        return self._call(Volume, "revert_volume", record, snapshot)

    def create_snapshot(self, record: Snapshot) -> Snapshot:
        return self._call(Snapshot, "create_snapshot", record)

    def resume_create_snapshot(self, record: Snapshot) -> Snapshot:
        return self._call(Snapshot, "resume_create_snapshot", record)

    def delete_snapshot(self, record: Snapshot) -> None:
        self._call(NoneType, "delete_snapshot", record)

    def create_group_snapshot(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
        return self._call(GroupSnapshot, "create_group_snapshot", record, members)

    def resume_create_group_snapshot(self, record: GroupSnapshot) -> GroupSnapshot:
        return self._call(GroupSnapshot, "resume_create_group_snapshot", record)

    def delete_group_snapshot(self, record: GroupSnapshot) -> None:
        self._call(NoneType, "delete_group_snapshot", record)

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        self._call(NoneType, "validate_connector", connector)

    def connect(self, volume: Volume, attachment: Attachment, *, check: Check = anybody) -> Attachment:
        token = next(self._tokens)
        self._checks[token] = check
        try:
            return self._call(Attachment, "connect", volume, attachment, token)
        finally:
            del self._checks[token]

    def disconnect(self, attachment: Attachment) -> None:
        self._call(NoneType, "disconnect", attachment)

    # --- within

    def _call(self, kind: type[T], verb: str, *arguments: Any) -> T:
        """What the driver's process answers, which is of that kind."""
        try:
            with self._bulkhead.entered(self.name, creates=verb in CREATING, releases=verb in RELEASING):
                answer = self._begin(verb, *arguments).result()
        except Gone:
            raise BackendUnavailable(self.name, "its driver's process ended during the call") from None
        assert isinstance(answer, kind)
        return answer

    def _begin(self, verb: str, *arguments: Any, **named: Any) -> Future[Any]:
        if (line := self._line) is None:
            raise BackendUnavailable(self.name, self.failure)
        try:
            return line.peer.begin(verb, *arguments, **named)
        except Gone:
            raise BackendUnavailable(self.name, "its driver's process has ended") from None

    def _check(self, token: int, others: Sequence[Attachment]) -> None:
        self._checks[token](others)

    def _measured(self, backend: str, operation: str, result: str, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.backend_called(backend, operation, result, seconds)
