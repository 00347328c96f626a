"""The shared basis of all driver calls: the driver, its store, its locks and the call itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import secret_values
from csi_cinderlib.cinder import convert, faults, identity
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.slots import Slots, urgency
from csi_cinderlib.cinder.work import Route, Work, routed, working
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendError, BackendUnavailable
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.observe import redact
from csi_cinderlib.observe.unmeasured import Meter, Unmeasured
from csi_cinderlib.persistence.api import Store


class Engine:
    """The driver of a back end and its resources. `driver` is None until the back end is started.

    Attributes:
        secrets: values to hide in logs and errors.

    Args:
        check_lease: called before each call into the driver; raises LeaseLost if this process may no longer act.
    """

    def __init__(
        self,
        settings: BackendSettings,
        *,
        store: Store,
        runtime: Runtime,
        check_lease: Callable[[], None],
        meter: Meter | None = None,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.store = store
        self.check_lease = check_lease
        self.runtime = runtime
        self.route = Route(settings.name, self.host, store)
        self.driver: Any = None
        self.context: Any = None
        self._meter: Meter = meter or Unmeasured()
        self.secrets = frozenset(secret_values.of(settings))
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()
        self.limit(settings.max_concurrent_calls)

    def limit(self, calls: int, *, extra: int = 1) -> None:
        """Limit the concurrent calls to `calls`, plus `extra` for calls that free resources; 0 means no limit."""
        self.calls_at_a_time = calls
        self._slots = Slots(calls, extra=extra)

    @property
    def host(self) -> str:
        """Cinder's `host@backend`."""
        return f"{self.runtime.host}@{self.name}"

    def work(self, *volumes: Volume, attachments: tuple[Attachment, ...] | None = None) -> Work:
        """The records for a driver call; `attachments` are those of the first volume."""
        work = Work(self.name, self.store, volumes={volume.id: volume for volume in volumes})
        if attachments is not None:
            work.attached[volumes[0].id] = attachments
        return work

    def call(self, work: Work, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call the driver, or other code that may use Cinder's database; translates errors to DriverError.

        At most `max_concurrent_calls` run at a time; the others wait (`Slots`).
        """
        name = getattr(operation, "__name__", "call")
        slot = self._slots.hold(urgency(self.driver, operation))
        with slot, self._meter.backend_call(self.name, name):
            return self.call_quietly(work, self._run, name, operation, arguments, named)

    def _run(self, name: str, operation: Callable[..., Any], arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        self.check_lease()  # after waiting for a slot
        identity.check(self.driver, name, arguments)
        answer = operation(*arguments, **named)
        faultpoints.reach(f"driver.{name}.done")
        return answer

    def ask(self, work: Work, operation: Callable[..., Any], *arguments: Any) -> Mapping[str, Any]:
        """As `call`, for operations that return a dictionary; None is returned as an empty one.

        Raises:
            BackendError: the driver returned another type.
        """
        answer = self.call(work, operation, *arguments) or {}
        if not isinstance(answer, Mapping):
            name = getattr(operation, "__name__", "call")
            raise BackendError(
                self.name, f"the driver returned {type(answer).__name__} from {name}; expected a dictionary"
            )
        return answer

    def ready_driver(self) -> Any:
        """Raises BackendUnavailable if the back end has not been started."""
        if self.driver is None:
            raise BackendUnavailable(self.name, "the driver is not set up")
        return self.driver

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a named Cinder lock, with the names used by its volume manager and drivers. Cinder requires ASCII."""
        from cinder import coordination

        with contextlib.ExitStack() as held:
            with faults.translated(self.name):
                held.enter_context(coordination.COORDINATOR.get_lock(name.encode("ascii", "backslashreplace").decode()))
            yield

    def turn(self, volume_id: str) -> threading.Lock:
        """The lock for creating or removing the volume's export: the exports after a start run in parallel with other calls."""
        with self._guard:
            return self._turns.setdefault(volume_id, threading.Lock())

    def volume_object(self, work: Work, volume: Volume) -> Any:
        return self.call_quietly(work, convert.volume_object, self.context, work, volume)

    def snapshot_object(self, work: Work, snapshot: Snapshot, volume: Any = None) -> Any:
        work.snapshots[snapshot.id] = snapshot
        return self.call_quietly(work, convert.snapshot_object, self.context, work, snapshot, volume)

    def call_quietly(self, work: Work, operation: Callable[..., Any], *arguments: Any) -> Any:
        """As `call`, for operations that do not access the back end: takes no slot.

        Provides the driver's records, translates its errors, and hides passwords in errors and log.
        """
        with routed(self.route), working(work), redact.hiding(self.secrets), faults.translated(self.name):
            return operation(*arguments)
