"""The lease of the active controller. Its holder calls drivers and changes records; other controllers are on standby.

The lease is stored with the records, so that all processes that share the records share it. It works like the leader election of
Kubernetes components (client-go, tools/leaderelection). The holder renews it. Another process takes it over if it has seen no renewal
for the duration of the lease by its own clock; clocks of different machines are never compared. The holder stops acting earlier, at the
renew deadline, measured from before it sent its last successful renewal. So it always stops before another process starts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from csi_cinderlib.errors import AlreadyExists, DriverError, LeaseLost, NotFound, StaleRecord
from csi_cinderlib.host.deadline import Deadline, now
from csi_cinderlib.model.records import EMPTY, OWN_KEYS, KeyValue
from csi_cinderlib.persistence import together
from csi_cinderlib.persistence.api import Page, R, Selection, Store, Where

KEY = f"{OWN_KEYS}lease"
"""The id of the key-value that contains the lease in a database."""
UNREADABLE = "an unknown process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in seconds. By default a standby takes over within 19 s of the last renewal, and an idle holder makes 9 requests a minute.

    Attributes:
        duration: from the last observed renewal until another process takes over the lease.
        deadline: from the last renewal, during which the holder may act. Requests sent before it have the rest of `duration` to end.
        renew: between two renewals.
        retry: after a failed renewal. Two unanswered or six refused renewals fit before the deadline.
        look: between two checks by a standby.
    """

    duration: float = 17.0
    deadline: float = 13.0
    renew: float = 7.0
    retry: float = 1.0
    look: float = 2.0


TIMING = Timing()


def unshared() -> None:
    """Replaces `Lease.check` in a process with exclusive access to its store, for example by SQLite's lock file."""


@dataclass(frozen=True, slots=True)
class State:
    """The content of a lease record.

    Attributes:
        holder: "" if the lease is free.
        seconds: duration of the lease as its holder wrote it.
        revision: changes with each write; "" if there is no record yet.
    """

    holder: str = ""
    seconds: float = 0.0
    revision: str = ""


class Record(Protocol):
    """Access to a lease record. Both methods may raise StoreUnavailable."""

    def read(self) -> State: ...

    def write(self, holder: str, seconds: float, seen: State) -> State:
        """Raises StaleRecord if the record has changed since `seen`."""


class StoredLease:
    """A lease in a store, as a key-value.

    Args:
        plain: the same store, opened without a sealer and with separate connections. A process without the key of the last
            holder must be able to take over the lease, and renewals must not wait for other statements.
        key: id of the key-value.
    """

    def __init__(self, store: Store, plain: Store, key: str = KEY) -> None:
        self._store = store
        self._plain = plain
        self._key = key

    def read(self) -> State:
        try:
            record = self._store.get(KeyValue, self._key)  # it may be sealed after an import or a key rotation
        except NotFound:
            return State()
        try:
            found = json.loads(record.value)
            return State(str(found["holder"]), float(found["seconds"]), record.revision)
        except (ValueError, KeyError, TypeError):
            return State(UNREADABLE, TIMING.duration, record.revision)

    def write(self, holder: str, seconds: float, seen: State) -> State:
        value = json.dumps({"holder": holder, "seconds": seconds})
        record = KeyValue(id=self._key, value=value, revision=seen.revision)
        try:
            stored = self._plain.replace(record) if seen.revision else self._plain.add(record)
        except (AlreadyExists, NotFound):
            raise StaleRecord("lease", self._key) from None
        return State(holder, seconds, stored.revision)


class Lease:
    """The lease as seen by this process. Any thread can call `check`; only one thread at a time the other methods.

    Args:
        identity: unique among running processes. A record with this identity was left by an ended predecessor of this process.
        deadline: shared with other processes; updated to the time until which the holder may act.
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
        """The holder at the last check."""
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
        except StaleRecord:  # another process was faster
            return False
        self._deadline.set(began + self.timing.deadline)
        return True

    def next_look(self) -> float:
        """Seconds to wait before the next `acquire`."""
        left = self._expires_in()
        return min(self.timing.look, left) if left > 0 else self.timing.look

    def renew(self) -> None:
        """Raises LeaseLost if this process no longer holds the lease, StoreUnavailable if this is unknown."""
        self.check()
        began = self._now()
        try:
            self._state = self._put(self.identity)
        except LeaseLost:
            self._deadline.set(-math.inf)
            raise
        self._deadline.set(began + self.timing.deadline)

    def remaining(self) -> float:
        """Seconds for which this process may still act; 0 or less after the lease is lost."""
        return self._deadline.until - self._now()

    def check(self) -> None:
        """Raises LeaseLost if this process must not act. Sends no request."""
        if self._now() >= self._deadline.until:
            raise LeaseLost("this process does not hold the lease of the active controller")

    def release(self) -> None:
        """Release the lease, so that another process can take over at once. This process must not act afterwards. Errors are ignored."""
        if self.remaining() <= 0:
            return
        self._deadline.set(-math.inf)
        with suppress(DriverError):
            self._put("")

    def _expires_in(self) -> float:
        return self._seen_at + self._state.seconds - self._now()

    def _put(self, holder: str) -> State:
        """Write as the holder. Raises LeaseLost if another process holds the lease."""
        try:
            return self._record.write(holder, self.timing.duration, self._state)
        except StaleRecord:  # changed by a renewal with a lost answer, or by re-sealing with a new key
            self._state = self._record.read()
        if self._state.holder != self.identity:
            raise LeaseLost(f"{self._state.holder or 'no process'} holds the lease of the active controller")
        return self._record.write(holder, self.timing.duration, self._state)


class LeasedStore:
    """A store that refuses writes after the lease is lost. See `persistence.api.Store`.

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

    def pages(self, selections: Sequence[Selection[Any]]) -> Sequence[Page[Any]]:
        return together.read(self._store, *selections)

    def close(self) -> None:
        self._store.close()
