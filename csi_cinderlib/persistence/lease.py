"""One active controller: the process that holds the installation's lease calls drivers and changes records; the others stand by.

The lease lies where the records lie, so that all processes that share the records share it. It works as the leader election of
Kubernetes' own components (client-go, tools/leaderelection). The holder renews it. Another process takes it over when it has seen no
renewal for the lease's duration, by its own clock: the clocks of two machines are never compared. The holder stops acting earlier,
at the renew deadline, counted from before it sent its last successful renewal. So it has always stopped before another one begins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from csi_cinderlib.errors import AlreadyExists, DriverError, LeaseLost, NotFound, StaleRecord
from csi_cinderlib.host.deadline import Deadline, now
from csi_cinderlib.model.records import EMPTY, OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Page, R, Store, Where

KEY = f"{OWN_KEYS}lease"
"""The id of the key-value that is the lease in a database."""
UNREADABLE = "an unknown process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """In seconds. With these, a standby takes over at most 19 s after the last renewal, and an idle holder makes 9 requests a minute.

    Attributes:
        duration: after the last renewal that was seen, until another process takes the lease over.
        deadline: after the last renewal, in which the holder may act. What it sent before has the rest of the duration to end.
        renew: between two renewals.
        retry: after a renewal that failed. Two that get no answer, or six that are refused, fit before the deadline.
        look: between two looks of a standby.
    """

    duration: float = 17.0
    deadline: float = 13.0
    renew: float = 7.0
    retry: float = 1.0
    look: float = 2.0


TIMING = Timing()


def unshared() -> None:
    """`Lease.check` of a process that has its store for itself: by SQLite's lock file, say."""


@dataclass(frozen=True, slots=True)
class State:
    """What a lease's record says.

    Attributes:
        holder: "" if nobody holds it.
        seconds: its duration, as its holder wrote it.
        revision: changes with each write; "" if there is no record yet.
    """

    holder: str = ""
    seconds: float = 0.0
    revision: str = ""


class Record(Protocol):
    """Where a lease is kept. Both methods may raise StoreUnavailable."""

    def read(self) -> State: ...

    def write(self, holder: str, seconds: float, seen: State) -> State:
        """Raises StaleRecord when it has changed since it was `seen`."""


class StoredLease:
    """In a store, as a key-value.

    Args:
        plain: the same store, opened without a sealer and so with connections of its own. A process without the key of the
            last holder must be able to take the lease over, and renewals must not queue behind other statements.
    """

    def __init__(self, store: Store, plain: Store) -> None:
        self._store = store
        self._plain = plain

    def read(self) -> State:
        try:
            record = self._store.get(KeyValue, KEY)  # may have been sealed by an import, or with a new key
        except NotFound:
            return State()
        try:
            found = json.loads(record.value)
            return State(str(found["holder"]), float(found["seconds"]), record.revision)
        except (ValueError, KeyError, TypeError):
            return State(UNREADABLE, TIMING.duration, record.revision)

    def write(self, holder: str, seconds: float, seen: State) -> State:
        value = json.dumps({"holder": holder, "seconds": seconds})
        record = KeyValue(id=KEY, value=value, revision=seen.revision)
        try:
            stored = self._plain.replace(record) if seen.revision else self._plain.add(record)
        except (AlreadyExists, NotFound):
            raise StaleRecord("lease", KEY) from None
        return State(holder, seconds, stored.revision)


class Lease:
    """This process' part in the lease. `check` may be called by any thread, the other methods by one thread at a time.

    Args:
        identity: no other process that runs has it. A record that names it was left by a predecessor of this process, which has ended.
        deadline: kept at the time until which the holder may act, for the processes that share it.
    """

    def __init__(
        self,
        record: Record,
        identity: str,
        *,
        timing: Timing = TIMING,
        clock: Callable[[], float] = now,
        deadline: Deadline | None = None,
    ) -> None:
        self.identity = identity
        self.timing = timing
        self.holder = ""
        """Who had it at the last look."""
        self._record = record
        self._now = clock
        self._deadline = deadline or Deadline()
        self._state = State()
        self._seen_at = -math.inf
        self._deadline.set(-math.inf)

    def acquire(self) -> bool:
        """Take the lease if it is free. Raises StoreUnavailable."""
        state = self._record.read()
        if state.revision != self._state.revision:
            self._state, self._seen_at = state, self._now()
        self.holder = state.holder
        if state.holder not in ("", self.identity) and self._expires_in() > 0:
            return False
        began = self._now()
        try:
            self._state = self._record.write(self.identity, self.timing.duration, self._state)
        except StaleRecord:  # another one was quicker
            return False
        self._deadline.set(began + self.timing.deadline)
        return True

    def next_look(self) -> float:
        """Seconds until `acquire` is worth another attempt."""
        left = self._expires_in()
        return min(self.timing.look, left) if left > 0 else self.timing.look

    def renew(self) -> None:
        """Raises LeaseLost when this process does not hold the lease any more, StoreUnavailable when it could not tell."""
        self.check()
        began = self._now()
        try:
            self._state = self._put(self.identity)
        except LeaseLost:
            self._deadline.set(-math.inf)
            raise
        self._deadline.set(began + self.timing.deadline)

    def remaining(self) -> float:
        """Seconds in which this process may still act; none or less once the lease is lost."""
        return self._deadline.until - self._now()

    def check(self) -> None:
        """Asks nothing of anybody. Raises LeaseLost when this process must not act."""
        if self._now() >= self._deadline.until:
            raise LeaseLost("this process does not hold the lease of the active controller")

    def release(self) -> None:
        """Let another process take over at once. From now on this one must not act; failing is no harm."""
        if self.remaining() <= 0:
            return
        self._deadline.set(-math.inf)
        with suppress(DriverError):
            self._put("")

    def _expires_in(self) -> float:
        return self._seen_at + self._state.seconds - self._now()

    def _put(self, holder: str) -> State:
        """Write as the holder. Raises LeaseLost when another process is."""
        try:
            return self._record.write(holder, self.timing.duration, self._state)
        except StaleRecord:  # by a renewal whose answer was lost, or by a new key that seals all records
            self._state = self._record.read()
        if self._state.holder != self.identity:
            raise LeaseLost(f"{self._state.holder or 'nobody'} holds the lease of the active controller")
        return self._record.write(holder, self.timing.duration, self._state)


class LeasedStore:
    """A store that refuses to write once the lease is lost. See `persistence.api.Store`.

    Args:
        check: raises LeaseLost.
    """

    def __init__(self, store: Store, check: Callable[[], None]) -> None:
        self.traits = store.traits
        self._store = store
        self._check = check

    def add(self, record: R) -> R:
        self._check()
        return self._store.add(record)

    def get(self, kind: type[R], id: str) -> R:
        return self._store.get(kind, id)

    def replace(self, record: R) -> R:
        self._check()
        return self._store.replace(record)

    def remove(self, record: R) -> None:
        self._check()
        self._store.remove(record)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        return self._store.page(kind, after=after, limit=limit, where=where)

    def close(self) -> None:
        self._store.close()
