"""What the calls into a driver share: the driver, its store, its locks and the one way to call it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import secret_values
from csi_cinderlib.cinder import convert, faults
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
    """One back end's means. `driver` is None until the back end was started.

    Attributes:
        secrets: what no log and no error may show.

    Args:
        check_lease: called before each call into the driver; raises LeaseLost when this process must not act any more.
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
        """Let so many calls run at a time, and `extra` ones that free something; 0 is no limit."""
        self.calls_at_a_time = calls
        self._slots = Slots(calls, extra=extra)

    @property
    def host(self) -> str:
        """Cinder's `host@backend`."""
        return f"{self.runtime.host}@{self.name}"

    def work(self, *volumes: Volume, attachments: tuple[Attachment, ...] | None = None) -> Work:
        """The records at hand for calls into the driver; `attachments` are those of the first volume."""
        work = Work(self.name, self.store, volumes={volume.id: volume for volume in volumes})
        if attachments is not None:
            work.attached[volumes[0].id] = attachments
        return work

    def call(self, work: Work, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call into the driver, or anything else that may ask Cinder's database; errors come out as ours.

        At most `max_concurrent_calls` run at a time; the others wait (`Slots`).
        """
        name = getattr(operation, "__name__", "call")
        slot = self._slots.hold(urgency(self.driver, operation))
        with slot, self._meter.backend_call(self.name, name), self._surrounded(work):
            self.check_lease()  # after the wait for a slot
            answer = operation(*arguments, **named)
            faultpoints.reach(f"driver.{name}.done")
            return answer

    def ask(self, work: Work, operation: Callable[..., Any], *arguments: Any) -> Mapping[str, Any]:
        """As `call`, for what answers a dictionary, or nothing, which is an empty one.

        Raises:
            BackendError: the driver answered something else.
        """
        answer = self.call(work, operation, *arguments) or {}
        if not isinstance(answer, Mapping):
            name = getattr(operation, "__name__", "call")
            raise BackendError(
                self.name, f"the driver returned {type(answer).__name__} from {name}; expected a dictionary"
            )
        return answer

    def ready_driver(self) -> Any:
        """Raises BackendUnavailable before the back end was started."""
        if self.driver is None:
            raise BackendUnavailable(self.name, "the driver is not set up")
        return self.driver

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a named lock of Cinder's, as its volume manager and drivers name them."""
        from cinder import coordination

        with contextlib.ExitStack() as held:
            with faults.translated(self.name):
                held.enter_context(coordination.COORDINATOR.get_lock(name))
            yield

    def turn(self, volume_id: str) -> threading.Lock:
        """To be held by whoever exports the volume or takes its export away: a start does so beside the calls that are served."""
        with self._guard:
            return self._turns.setdefault(volume_id, threading.Lock())

    def volume_object(self, work: Work, volume: Volume) -> Any:
        return self.call_quietly(work, convert.volume_object, self.context, work, volume)

    def snapshot_object(self, work: Work, snapshot: Snapshot, volume: Any = None) -> Any:
        work.snapshots[snapshot.id] = snapshot
        return self.call_quietly(work, convert.snapshot_object, self.context, work, snapshot, volume)

    def call_quietly(self, work: Work, operation: Callable[..., Any], *arguments: Any) -> Any:
        """As `call`, for what does not reach the back end: it takes no slot."""
        with self._surrounded(work):
            return operation(*arguments)

    @contextlib.contextmanager
    def _surrounded(self, work: Work) -> Iterator[None]:
        """What a driver asks for is at hand, what it says is ours to show: errors translated, passwords hidden, also in its log."""
        with routed(self.route), working(work), redact.hiding(self.secrets), faults.translated(self.name):
            yield
