"""The metadata store over a persistence plugin of cinderlib.

A plugin only gets, sets and deletes. Within this process the rules of `persistence.api` are kept with a lock; a revision is stored in
each object. Every write is read back, so that a plugin that drops values is noticed before a driver is called. Between processes,
only a plugin that refuses to overwrite a newer object itself can prevent conflicts: the object that it has read, with the
attributes that it has set on it, is the base of each write.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib import default
from csi_cinderlib.cinderlib.persistence.remainder import differing, has_all
from csi_cinderlib.cinderlib.persistence.shelves import Shelf, shelves
from csi_cinderlib.cinderlib.persistence.turns import Turns
from csi_cinderlib.errors import AlreadyExists, DriverError, NotFound, StaleRecord, StoreUnavailable
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Attachment, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Page, R, Traits, Where
from csi_cinderlib.persistence.queries import check_query, has_snapshots, wanted
from csi_cinderlib.persistence.revisions import following

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase
    from csi_cinderlib.cinderlib.types import Library


class PluginStore:
    """See `persistence.api.Store`.

    Args:
        plugin: its objects belong to the set-up given to `serve`.
    """

    def __init__(self, plugin: PersistenceDriverBase) -> None:
        self.plugin = plugin
        self.traits = Traits(durable=bool(plugin.durable), shared=bool(plugin.durable and plugin.shared))
        self._turns = Turns(self._name, plugin.patience)
        self._library: Library | None = None
        self._shelves: Mapping[type[Record], Shelf] = {}

    def serve(self, library: Library) -> None:
        """Set the set-up whose objects the plugin stores. Call it before other methods."""
        self._library = library
        self._shelves = shelves(library, self.plugin)

    def still(self) -> AbstractContextManager[object]:
        """Held during a fork, so that the child gets a consistent copy."""
        return self._turns.turn("fork")

    def add(self, record: R) -> R:
        stored = _copy(record, following(""))
        with self._calling("add"):
            if self._shelf(record).read(record.id) is not None:
                raise AlreadyExists(_kind(record), record.id)
            self._check_volume(record)
            try:
                return self._write(stored)
            except _LossError:
                self._shelf(record).erase(stored)
                raise

    def get(self, kind: type[R], id: str) -> R:
        with self._calling("get"):
            record: R | None = self._shelves[kind].read(id)
        if record is None:
            raise NotFound(codec.kind_name(kind), id)
        return record

    def replace(self, record: R) -> R:
        stored = _copy(record, following(record.revision))
        with self._calling("replace"):
            self._check_revision(record)
            self._check_volume(record)
            return self._write(stored, record)

    def remove(self, record: R) -> None:
        with self._calling("remove"):
            self._check_revision(record)
            if isinstance(record, Volume):
                self._remove_dependents(record.id)
            self._shelf(record).erase(record)
            if self._shelf(record).read(record.id) is not None:
                raise StoreUnavailable(f"{self._name} has kept {_kind(record)} {record.id!r} after its deletion")

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        check_query(kind, limit, where)
        accepted = wanted(where)
        with self._calling("page"):
            found, corrupt = self._listed(kind, accepted)
        by_id = {record.id: record for record in found if _matches(record, accepted)} | dict.fromkeys(corrupt)
        ids = sorted(by_id)
        ids = ids[bisect_right(ids, after) :]
        shown = ids[:limit]
        return Page(
            tuple(by_id[id] for id in shown if by_id[id] is not None),
            shown[-1] if len(ids) > limit else "",
            tuple(id for id in shown if by_id[id] is None),
        )

    def close(self) -> None:
        """A plugin of cinderlib is not closed."""

    @property
    def _name(self) -> str:
        return f"the persistence plugin {type(self.plugin).__name__}"

    def _shelf(self, record: Record) -> Shelf:
        return self._shelves[type(record)]

    def _listed(self, kind: type[Record], accepted: Mapping[str, tuple[str, ...]]) -> tuple[list[Any], list[str]]:
        """The plugin filters by one value of each field at most; `page` filters by the others."""
        single = {name: values[0] for name, values in accepted.items() if len(values) == 1}
        return self._shelves[kind].read_all(single)

    @contextmanager
    def _calling(self, call: str) -> Iterator[None]:
        if self._library is None:
            raise AssertionError("serve() must be called first")
        with self._turns.turn(call), default.serving(self._library):
            try:
                yield
            except DriverError:
                raise
            except Exception as error:
                text = f"{self._name} failed in `{call}`: {type(error).__name__}: {error}"
                raise StoreUnavailable(text) from error

    def _write(self, stored: R, before: R | None = None) -> R:
        """Write and read back. A failed write may have had its effect, or another process may have been faster."""
        failure: Exception | None = None
        try:
            stored = self._shelf(stored).write(stored)
        except Exception as error:
            failure = error
        read = self._shelf(stored).read(stored.id)
        if read == stored:
            return stored
        if failure is None:
            if read is not None and has_all(read, stored):  # the plugin has added values, which change the revision
                whole: R = read
                return whole
            raise _LossError(self._name, stored, read)
        if before is None and read is not None:
            raise AlreadyExists(_kind(stored), stored.id) from failure
        if before is not None and read is None:
            raise NotFound(_kind(stored), stored.id) from failure
        if before is not None and read.revision != before.revision:
            raise StaleRecord(_kind(stored), stored.id) from failure
        raise failure

    def _check_revision(self, record: Record) -> None:
        known = self._shelf(record).read(record.id)
        if known is None:
            raise NotFound(_kind(record), record.id)
        if known.revision != record.revision:
            raise StaleRecord(_kind(record), record.id)

    def _check_volume(self, record: Record) -> None:
        if isinstance(record, Snapshot | Attachment) and self._shelves[Volume].read(record.volume_id) is None:
            raise NotFound("volume", record.volume_id)

    def _remove_dependents(self, volume_id: str) -> None:
        where = {"volume_id": volume_id}
        snapshots, corrupt = self._shelves[Snapshot].read_all(where)
        count = len(corrupt) + sum(snapshot.volume_id == volume_id for snapshot in snapshots)
        if count:
            raise has_snapshots(volume_id, count)
        for attachment in self._shelves[Attachment].read_all(where)[0]:
            if attachment.volume_id == volume_id:
                self._shelves[Attachment].erase(attachment)


class _LossError(StoreUnavailable):
    """The plugin does not return what it was given."""

    def __init__(self, plugin: str, stored: Any, read: Any) -> None:
        what = "the object" if read is None else ", ".join(differing(stored, read)) or "its revision"
        super().__init__(
            f"{plugin} has not kept {what} of {_kind(stored)} {stored.id!r}; it must store all fields of an object, "
            "including admin_metadata, metadata and connection_info, or its key-values"
        )


def _copy(record: R, revision: str) -> R:
    """A copy that shares nothing with the caller. Raises InvalidRequest for values that cannot be stored."""
    codec.keys(record)
    kind: type[R] = type(record)
    return codec.from_text(kind, codec.to_text(replace(record, revision=revision)), id=record.id, revision=revision)


def _kind(record: Record) -> str:
    return codec.kind_name(type(record))


def _matches(record: Record, accepted: Mapping[str, tuple[str, ...]]) -> bool:
    return all(str(getattr(record, name)) in values for name, values in accepted.items())
