"""Writers that record the answers of the store, and checks of the store against these records."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from csi_cinderlib.errors import AlreadyExists, NotFound, StaleRecord
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.samples import volume

ADDED, REPLACED, REMOVED = "added", "replaced", "removed"
LAST_COUNT = 3
"""How often `live` replaces each volume."""


@dataclass(frozen=True, slots=True)
class Event:
    """A successful write: revisions of the volume before and after, and its new count."""

    writer: str
    what: str
    id: str
    before: str
    after: str
    count: int


Emit = Callable[[Event], None]


def _counted(record: Volume, count: int) -> Volume:
    """Set the count in three places, so that a partial write is detected."""
    return replace(record, message=str(count), metadata={"count": str(count)}, fields={"count": count})


def count_of(record: Volume) -> int:
    """Raises AssertionError if the record is a mixture of two writes."""
    count = int(record.message)
    assert record.metadata == {"count": str(count)}, f"partial write: {record}"
    assert record.fields == {"count": count}, f"partial write: {record}"
    return count


def contend(store: Store, writer: str, ids: Sequence[str], emit: Emit) -> None:
    """Try to create each volume, then increment its count once, in competition with other writers."""
    for id in ids:
        try:
            record = store.add(_counted(volume(id, owner=writer), 0))
            emit(Event(writer, ADDED, id, "", record.revision, 0))
        except AlreadyExists:
            record = store.get(Volume, id)
        while True:
            try:
                count = count_of(record) + 1
                changed = store.replace(_counted(record, count))
                emit(Event(writer, REPLACED, id, record.revision, changed.revision, count))
                break
            except StaleRecord:
                record = store.get(Volume, id)


def live(store: Store, writer: str, emit: Emit, stop: threading.Event) -> None:
    """Add separate volumes one after the other, replace each a few times, and remove every third one."""
    for number in itertools.count():
        id = f"{writer}-{number:06}"
        record = store.add(_counted(volume(id), 0))
        emit(Event(writer, ADDED, id, "", record.revision, 0))
        for count in range(1, LAST_COUNT + 1):
            before = record.revision
            record = store.replace(_counted(record, count))
            emit(Event(writer, REPLACED, id, before, record.revision, count))
        if number % 3 == 0:
            store.remove(record)
            emit(Event(writer, REMOVED, id, record.revision, "", LAST_COUNT))
        if stop.is_set():
            return


def check_contest(store: Store, ids: Iterable[str], events: Iterable[Event], writers: int) -> None:
    """Check that each volume was created once, and that its writes form an unbroken chain to the stored state."""
    by_id: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_id[event.id].append(event)
    for id in ids:
        added = [event for event in by_id[id] if event.what == ADDED]
        replaced = [event for event in by_id[id] if event.what == REPLACED]
        assert len(added) == 1, f"volume {id} was created {len(added)} times"
        assert len(replaced) == writers, f"volume {id}: {len(replaced)} of {writers} writers succeeded"
        twice = [revision for revision, times in Counter(event.before for event in replaced).items() if times > 1]
        assert not twice, f"volume {id}: the update of {twice} was lost"
        successors = {event.before: event.after for event in replaced}
        revision = added[0].after
        for _ in replaced:
            revision = successors[revision]
        stored = store.get(Volume, id)
        assert (stored.revision, count_of(stored)) == (revision, writers), (
            f"volume {id} differs from the last acknowledged write"
        )


def check_survival(store: Store, events: Iterable[Event]) -> int:
    """Check that acknowledged writes survived the crash and others are complete or absent. Returns the number of volumes."""
    last: dict[str, Event] = {}
    for event in events:
        last[event.id] = event
    for id, event in last.items():
        stored = _find(store, id)
        may_be_gone = event.count == LAST_COUNT and int(id.rpartition("-")[2]) % 3 == 0
        if stored is None:
            assert event.what == REMOVED or may_be_gone, f"volume {id} was acknowledged ({event}) and is lost"
            continue
        assert event.what != REMOVED, f"volume {id} was removed and reappeared"
        unanswered = count_of(stored) == event.count + 1
        assert unanswered or stored.revision == event.after, (
            f"volume {id}: {event} was acknowledged, but {stored} is stored"
        )
    for writer in {event.writer for event in last.values()}:
        number = max(int(event.id.rpartition("-")[2]) for event in last.values() if event.writer == writer) + 1
        begun = _find(store, f"{writer}-{number:06}")
        assert begun is None or count_of(begun) == 0
    return len(last)


def _find(store: Store, id: str) -> Volume | None:
    try:
        return store.get(Volume, id)
    except NotFound:
        return None
