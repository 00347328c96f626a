"""The controller's proxy of a driver that runs in its own process: the driver's verbs and the process's lifecycle."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager, suppress
from types import NoneType
from typing import Any, Protocol, TypeVar

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import remote_store, secret_values, verbs
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.existing import RemoteExisting
from csi_cinderlib.backend.line import Cause, Line
from csi_cinderlib.backend.stats import BackendStats, Candidate, Rating
from csi_cinderlib.backend.verbs import NOT_STARTED, Attachments, Columns, Exported, Outcome, Released, Report, Started
from csi_cinderlib.backend.wire import Gone, Unexpected
from csi_cinderlib.errors import BackendUnavailable, DriverError
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Modification, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.persistence.api import Store

T = TypeVar("T")
SET_UP_SECONDS = 600.0
"""A set-up that takes longer is abandoned: its process is killed and the set-up retried."""
DRAIN_SECONDS = 120.0
"""How long calls may continue after the back end was removed or its options were changed."""
RECENT_SECONDS = 120.0
"""How long `remark` mentions the end of a process."""
_log = logs.logger(__name__)


class Measured(Protocol):
    """Receives a driver process's metrics: `observe.metrics.Metrics`."""

    def backend_called(self, backend: str, operation: str, result: str, seconds: float) -> None: ...


class RemoteDriver:
    """See `verbs.Driver`. If the process ends during a call, the call raises BackendUnavailable.

    Args:
        assign: returns the process's assignment; its argument tells whether the process is the first one.
        deadline: until when this process may act.
        metrics: receives the driver's metrics.
        set_up_seconds: overrides SET_UP_SECONDS.
    """

    def __init__(
        self,
        assign: Callable[[bool], Assignment],
        *,
        store: Store,
        deadline: Deadline,
        metrics: Measured | None = None,
        set_up_seconds: float = 0.0,
    ) -> None:
        self.settings = assign(True).settings
        self.name = self.settings.name
        self.failure = NOT_STARTED
        self.existing = RemoteExisting(self._call)
        self._assign = assign
        self._store = store
        self._deadline = deadline
        self._metrics = metrics
        self._set_up_seconds = set_up_seconds
        self._last_end, self._last_end_at = "", -math.inf
        self.last_cause = Cause.CRASHED
        """Why the last process ended that was not stopped on purpose."""
        self._asking = threading.Lock()
        self._asked: Future[Any] | None = None
        self._latest: Line | None = None
        self._line: Line | None = None
        self._starting = threading.Lock()
        self._guard = threading.Lock()
        self._operations = 0
        self._idle = threading.Condition(self._guard)
        self._own = threading.local()
        self._is_stopped = False
        self._is_first = True
        self._empty_methods: frozenset[str] = frozenset()
        self._show_secrets = redact.hide_in_process(secret_values.of(self.settings))

    # --- lifecycle

    @property
    def ready(self) -> bool:
        return self._usable() is not None

    def _usable(self) -> Line | None:
        """The process for this thread."""
        return self._line or (getattr(self._own, "line", None) if self._is_stopped else None)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Surrounds related calls of this thread. They may continue after `stop`, which waits for them."""
        with self._guard:
            self._own.line = self._line
            self._operations += 1
        try:
            yield
        finally:
            with self._idle:
                self._own.line = None
                self._operations -= 1
                self._idle.notify_all()

    @property
    def remark(self) -> str:
        if time.monotonic() - self._last_end_at > RECENT_SECONDS:
            return ""
        return f"{self._last_end} and was restarted"

    @property
    def pid(self) -> int:
        """The pid of the driver process; 0 if there is none."""
        line = self._line
        return line.process.pid if line else 0

    def start(self) -> Started | None:
        """Start the driver process and set up the driver. None if it is ready already.

        Raises:
            ConfigurationError, HostError: as the process found out.
            BackendUnavailable: the storage does not respond, or the process ended; start again later.
        """
        with self._starting:
            if self.ready:
                return None
            try:
                return self._start()
            except DriverError as error:
                self.failure = (
                    "stopped" if self._is_stopped else redact.of_backend(error, secret_values.of_options(self.settings))
                )
                raise

    def _start(self) -> Started:
        with self._guard:
            self._refuse_stopped()
            assignment, self._is_first = self._assign(self._is_first), False
        line = self._latest = Line(
            assignment, self._handlers(), shared=self._deadline.file, lost=self._lose, refuse=self._refuse_stopped
        )
        try:
            line.open()
            self._refuse_stopped()  # may have been stopped during the fork
            faultpoints.add_driver(line.process.pid)
            started: Started = line.set_up(self._set_up_seconds or SET_UP_SECONDS)
            self._empty_methods = started.traits.empty_methods
            self._use(line)
            if assignment.log.level != logs.level():  # changed meanwhile
                self.log_from(logs.level())
        except BaseException:
            line.close()
            raise
        _log.info("driver process ready", backend=self.name, pid=line.process.pid)
        return started

    def _use(self, line: Line) -> None:
        with self._guard:
            self._refuse_stopped()
            self._line, self.failure, self._asked = line, "", None
        if line.ended.is_set():  # it has just ended
            self._lose(line)
            raise BackendUnavailable(self.name, self.failure)

    def _refuse_stopped(self) -> None:
        if self._is_stopped:
            raise BackendUnavailable(self.name, "stopped")

    def _handlers(self) -> dict[str, Any]:
        return {**remote_store.served(self._store), "measured": self._measured}

    def _lose(self, line: Line) -> None:
        with self._guard:
            if self._line is line:
                self.failure = self._last_end = f"the driver process {line.end}"
                self.last_cause = line.cause
                self._last_end_at = time.monotonic()
                self._line = None

    def wait_until_ended(self) -> str:
        """Wait until the process ends or is killed because it hangs. Returns how it ended, as a clause; "" after `stop`."""
        if (line := self._line) is not None:
            line.wait_until_ended()
            self._lose(line)  # the thread that reports this may not have run yet
        return "" if self._is_stopped else self.failure

    def log_from(self, level: str) -> None:
        """Set the log level of the process. A new process starts with the level of this process."""
        if (line := self._latest) is not None:
            line.peer.tell("log_level", level)

    def log_stacks(self) -> None:
        """Let the process log the stacks of its threads."""
        if (line := self._latest) is not None:
            line.peer.tell("log_stacks")

    def stacks(self, seconds: float) -> Sequence[Mapping[str, object]]:
        """The stacks of its threads; waits up to `seconds`. Raises BackendUnavailable."""
        if (line := self._latest) is None:
            raise BackendUnavailable(self.name, "the driver process is not running")
        try:
            found: Sequence[Mapping[str, object]] = line.peer.begin("stacks").result(seconds)
        except Gone:
            raise BackendUnavailable(self.name, "the driver process has ended") from None
        except TooLate:
            raise BackendUnavailable(self.name, f"the driver process did not respond within {seconds:g} s") from None
        return found

    def kill(self, why: Cause | None = None) -> None:
        """Kill the process."""
        if (line := self._latest) is not None:
            line.kill(why)

    def stop(self) -> None:
        """Accept no new calls, and end the process when the running calls have ended, or after DRAIN_SECONDS.

        Volumes and connections are not affected.
        """
        with self._guard:
            if self._is_stopped:
                return
            self._is_stopped, self.failure = True, "stopped"
            line, self._line = self._line, None
        if line is None:
            self.kill()  # it may be setting up
            self._show_secrets()
        else:
            line.peer.tell("leave")
            threading.Thread(target=self._drain, args=(line,), name=f"drain-{self.name}", daemon=True).start()

    def _drain(self, line: Line) -> None:
        began = time.monotonic()
        with self._idle:
            self._idle.wait_for(lambda: not self._operations, DRAIN_SECONDS)
        if not line.wait_until_idle(began + DRAIN_SECONDS - time.monotonic()):
            _log.warning("unfinished calls abandoned", backend=self.name, calls=line.calls)
        self.kill()
        self._show_secrets()

    # --- its report

    def report(self, *, patience: float | None = None) -> Report:
        question = self._question()
        report: Report = self._answered(question, patience)
        with self._asking:
            if self._asked is question:
                self._asked = None
        return report

    def ask(self) -> None:
        with suppress(BackendUnavailable):  # `report` raises it
            self._question()

    def _question(self) -> Future[Any]:
        """The report request in progress, or a new one: a driver serves one at a time."""
        with self._asking:
            asked = self._asked
            if asked is None or (asked.done() and asked.exception() is not None):  # for example, the process has ended
                asked = self._asked = self._begin("report")
            return asked

    def rate(self, stats: BackendStats, candidate: Candidate, *, patience: float) -> Mapping[str, Rating]:
        rated: Mapping[str, Rating] = self._answered(self._begin("rate", stats, candidate), patience)
        return rated

    def _answered(self, question: Future[Any], patience: float | None) -> Any:
        try:
            return question.result(patience)
        except Gone:
            raise BackendUnavailable(self.name, "the driver process ended during the call") from None
        except Unexpected as error:
            raise BackendUnavailable(self.name, f"{error}; see the log") from None

    # --- verbs

    def name_of(self, record: Volume | Snapshot) -> str:
        return self._call(str, "name_of", record)

    def find_file(self, volume: Volume) -> str:
        return self._call(str, "find_file", volume)

    def misses_file(self, volume: Volume) -> bool:
        return self._call(bool, "misses_file", volume)

    def create_volume(self, volume: Volume, source: Snapshot | Volume | None) -> Columns:
        return self._call(dict, "create_volume", volume, source)

    def delete_volume(self, volume: Volume, *, unfinished: bool) -> Outcome:
        return self._call(Outcome, "delete_volume", volume, unfinished=unfinished)

    def extend_volume(self, volume: Volume, attachments: Attachments, size: GiB) -> None:
        self._call(NoneType, "extend_volume", volume, attachments, size)

    def size_of_volume(self, volume: Volume, attachments: Attachments) -> GiB:
        return GiB(self._call(int, "size_of_volume", volume, attachments))

    def revert_volume(self, volume: Volume, snapshot: Snapshot) -> None:
        self._call(NoneType, "revert_volume", volume, snapshot)

    def retype_volume(self, volume: Volume, attachments: Attachments, modification: Modification) -> verbs.Retyped:
        return self._call(verbs.Retyped, "retype_volume", volume, attachments, modification)

    def create_snapshot(self, snapshot: Snapshot, volume: Volume, attachments: Attachments) -> Columns:
        return self._call(dict, "create_snapshot", snapshot, volume, attachments)

    def delete_snapshot(
        self, snapshot: Snapshot, volume: Volume | None = None, attachments: Attachments = (), *, unfinished: bool
    ) -> Outcome:
        return self._call(Outcome, "delete_snapshot", snapshot, volume, attachments, unfinished=unfinished)

    def create_group(self, group: Group, volumes: Sequence[Volume]) -> None:
        self._call(NoneType, "create_group", group, volumes)

    def update_group(
        self, group: Group, volumes: Sequence[Volume], *, add: Sequence[Volume] = (), remove: Sequence[Volume] = ()
    ) -> Mapping[str, Columns]:
        return self._call(dict, "update_group", group, volumes, add=add, remove=remove)

    def create_group_snapshot(
        self, record: GroupSnapshot, group: Group, volumes: Sequence[Volume], members: Sequence[Snapshot]
    ) -> tuple[Columns, Mapping[str, Columns]]:
        return self._call(tuple, "create_group_snapshot", record, group, volumes, members)

    def delete_group_snapshot(
        self, record: GroupSnapshot, group: Group, members: Sequence[Snapshot]
    ) -> Mapping[str, Outcome]:
        return self._call(dict, "delete_group_snapshot", record, group, members)

    def delete_group(self, group: Group) -> None:
        self._call(NoneType, "delete_group", group)

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        if not self._does_nothing("validate_connector"):
            self._call(NoneType, "validate_connector", connector)

    def export_again(self, volume_id: str) -> None:
        self._call(NoneType, "export_again", volume_id)

    def create_export(self, volume: Volume, attachment: Attachment, attachments: Attachments) -> Exported:
        if self._does_nothing("create_export"):
            return Exported(columns={}, volume=volume)
        return self._call(Exported, "create_export", volume, attachment, attachments)

    def initialize_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments
    ) -> Mapping[str, object]:
        return self._call(dict, "initialize_connection", volume, attachment, attachments)

    def terminate_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments, *, forced: bool | None = False
    ) -> Released:
        return self._call(Released, "terminate_connection", volume, attachment, attachments, forced=forced)

    def remove_export(self, volume: Volume, attachments: Attachments) -> None:
        if not self._does_nothing("remove_export"):
            self._call(NoneType, "remove_export", volume, attachments)

    # --- internal

    def _does_nothing(self, method: str) -> bool:
        """Whether the driver's method is empty and need not be called. Raises BackendUnavailable."""
        self._ready_line()
        return method in self._empty_methods

    def _call(self, kind: type[T], verb: str, *arguments: Any, **named: Any) -> T:
        """Call a verb in the driver process. Returns its answer, of type `kind`."""
        line = self._ready_line()
        try:
            answer = line.channels.call(verb, *arguments, **named)
        except Gone:
            raise BackendUnavailable(self.name, "the driver process ended during the call") from None
        assert isinstance(answer, kind)
        return answer

    def _begin(self, verb: str, *arguments: Any, **named: Any) -> Future[Any]:
        line = self._ready_line()
        try:
            return line.peer.begin(verb, *arguments, **named)
        except Gone:
            raise BackendUnavailable(self.name, "the driver process has ended") from None

    def _ready_line(self) -> Line:
        """Raises BackendUnavailable."""
        if (line := self._usable()) is None:
            raise BackendUnavailable(self.name, self.failure)
        return line

    def _measured(self, backend: str, operation: str, result: str, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.backend_called(backend, operation, result, seconds)
