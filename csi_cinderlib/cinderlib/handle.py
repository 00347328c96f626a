"""The common base of volumes, snapshots and connections: a record, its back end, and Cinder's object for it."""

from __future__ import annotations

import contextlib
import json as json_text
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import class_attributes, default, exception, fields, object_setup, restoring
from csi_cinderlib.cinderlib.attributes import MaybeName
from csi_cinderlib.cinderlib.copies import Copyable
from csi_cinderlib.cinderlib.creations import is_same
from csi_cinderlib.cinderlib.merging import merged, rebased
from csi_cinderlib.cinderlib.primitives import bare
from csi_cinderlib.cinderlib.results import Json
from csi_cinderlib.errors import AlreadyExists, DriverError, InvalidRequest, NotFound, OperationPending
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Persistence
    from csi_cinderlib.lifecycle.local import LocalBackend as Core

T = TypeVar("T", Volume, Snapshot, Attachment)

_FORWARDED = frozenset(
    "_name_id _context _changed_fields _convert_connection_info_to_db_format _convert_connector_to_db_format".split()
)
"""Attributes of Cinder's object with an underscore that programs and persistence plugins use."""
_SET_BY_OPERATIONS = frozenset({*fields.RESULTS, "deleted", "deleted_at"})


class Object(Copyable, Generic[T]):
    """A volume, snapshot or connection.

    Every field of Cinder's versioned object (`_ovo`) is an attribute: `volume.provider_location`, `snapshot.volume_size`.
    """

    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ()
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ()
    OVO_CLASS: ClassVar[Any]
    """Cinder's class."""
    _IN_JSON: ClassVar[tuple[str, ...]]
    """The columns of the record that JSON describes. The others, such as the state of an operation, are those of the store."""
    if TYPE_CHECKING:
        CONTEXT: ClassVar[Any]
        backend_class: ClassVar[type[Backend]]
        persistence: ClassVar[Persistence]
    else:
        CONTEXT = class_attributes.Late(class_attributes.context)
        """Cinder's context, for direct calls of a driver."""
        backend_class = class_attributes.Late(class_attributes.backend_class)
        persistence = class_attributes.OfSetUp("persistence")
        """The metadata of the set-up; None before it."""
    setup = staticmethod(object_setup.setup)

    def __init__(self, library: Library, record: T, backend: Backend | str) -> None:
        self._library: Library = library
        self._record: T = record
        self._backend: Backend | str = backend
        self._object: Any = None
        self._base: T | None = None
        """The record on which the values were set that are not stored yet, if it is older than `_record`."""
        self._outcome: str = ""
        self._deleted_at: datetime | None = None
        self._has_moved: bool = False
        """Whether the set-up has changed its store since this object was read or stored."""
        if not default.is_serving():  # else it belongs to a persistence plugin
            library.objects.add(self)

    if not TYPE_CHECKING:  # else the type checker accepts every name

        def __setattr__(self, name: str, value: Any) -> None:
            """Fields of Cinder's object are set there, so that `save` stores them."""
            is_public = not name.startswith("_") and not hasattr(type(self), name)
            if (is_public or name in _FORWARDED) and name in self.OVO_CLASS.fields:
                setattr(self._ovo, name, value)
            else:
                object.__setattr__(self, name, value)

    @classmethod
    def _load(cls, backend: Any, ovo: Any, volume: Any = None, save: bool = False) -> Any:
        """The object of Cinder's object that a persistence plugin has stored."""
        handle: Any = cls._of_ovo(backend, volume, ovo)
        if save:
            handle.save()
        return handle

    @classmethod
    def _of_ovo(cls, backend: Any, volume: Any, ovo: Any) -> Any:
        given = {restoring.OVO: ovo} if volume is None else {restoring.OVO: ovo, "volume": volume}
        return cls(backend, **given)

    # --- properties

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def backend(self) -> Backend | MaybeName:
        """The back end; or its name if it is not loaded and `setup` was called with `fail_on_missing_backend=False`."""
        return self._backend

    @property
    def _ovo(self) -> Any:
        """Cinder's versioned object. `save` stores changes made to it."""
        if self._object is None:
            record = self._record
            self._object = self._make()
            while self._record is not record:  # another thread has set a newer one, and saw no object to update
                record = self._record
                self._show()
        return self._object

    def _make(self) -> Any:
        versioned_object = self._versioned()
        if self._outcome and "status" in versioned_object.fields:
            self._mark(versioned_object)
        return versioned_object

    def _mark(self, versioned_object: Any) -> None:
        """Show the outcome on Cinder's object."""
        shown = {"status": self._outcome, "deleted": self._outcome == "deleted", "deleted_at": self._deleted_at}
        for name, value in shown.items():
            setattr(versioned_object, name, value)
        versioned_object._changed_fields.difference_update(shown)

    def _versioned(self) -> Any:
        raise NotImplementedError

    if not TYPE_CHECKING:  # type checkers know the names in `attributes`

        def __getattr__(self, name: str) -> Any:
            """Fields of Cinder's object, as documented for cinderlib."""
            if name.startswith("_") and name not in _FORWARDED:
                raise AttributeError(name)
            return getattr(self._ovo, name)

    def __repr__(self) -> str:
        return f"<cinderlib.{type(self).__name__} object {self.id} on backend {getattr(self._backend, 'id', self._backend)}>"

    @staticmethod
    def new_uuid() -> str:
        return str(uuid.uuid4())

    # --- the record

    @property
    def _core(self) -> Core:
        """The implementation of the back end.

        Raises:
            NotFound: the back end is not loaded.
        """
        if isinstance(self._backend, str):
            raise NotFound("back end", self._backend)
        return self._backend.core

    def _take(self, record: T, outcome: str = "") -> None:
        """Set the record, and update Cinder's object in place for callers that hold it.

        Values that were set on Cinder's object and are not stored yet stay, except those that an operation sets.
        """
        unsaved = self._unsaved_fields() if self._object is not None else ()
        self._base = self._base_on(record, unsaved)
        self._record, self._outcome = record, outcome
        self._show(unsaved)

    def _show(self, unsaved: Collection[str] = ()) -> None:
        """Update Cinder's object in place, except for these fields, which have values that are not stored yet."""
        if self._object is not None:
            versioned.update(self._object, self._make(), unsaved)

    def _wrote(self, record: T) -> None:
        """Set the record that an operation has stored, also in the other objects of the record in this process."""
        self._take(record)
        self._tell_others(record)

    def _tell_others(self, record: T) -> None:
        """Update the other objects of this record. An object of an earlier record with this id, or of none, must not become this one."""
        for other in self._library.objects.beside(self):
            if other._record.revision and is_same(record, other._record):
                other._take(record, other._outcome)

    def _unsaved_fields(self) -> set[str]:
        """The fields set on Cinder's object and not stored yet, except those that an operation sets."""
        return versioned.assigned(self._object).keys() - _SET_BY_OPERATIONS

    def _current(self) -> T:
        """The stored record. A record loaded from JSON is stored first.

        Raises:
            NotFound: the record was deleted.
        """
        self._refuse_deleted()
        try:
            record = self._stored()
        except NotFound:
            if self._record.revision:
                raise
            record = self._store_all()
        if self._outcome or record.revision != self._record.revision:
            self._take(record)
        base = self._base or self._record
        if unsaved := self._stored_first():
            record = self._store_changes(record, unsaved, base)
            self._saved(record, unsaved)
        return record

    def _store_changes(self, stored: T, unsaved: Mapping[str, Any], base: T) -> T:
        """Store these values, and keep concurrent changes of others.

        Args:
            base: read before the values, which another thread may store meanwhile. Read later, it could contain more than they do.

        Raises:
            StaleRecord: a value was changed differently.
        """
        return change(self._library.store, stored, lambda now: merged(base, self._changed(now, unsaved), now))

    def _base_on(self, record: T, unsaved: Collection[str]) -> T | None:
        """The base of these values once the record is set: they change the earlier one, and other values are now those of the record."""
        base, values = self._base or self._record, self._unsaved()
        pending = {name: values[name] for name in unsaved if name in values}
        with contextlib.suppress(DriverError):  # a value that cannot be stored is refused when it is
            return rebased(base, self._changed(base, pending), record) if pending else None
        return base

    def _stored_first(self) -> dict[str, Any]:
        """The values that an operation stores before it begins, as the operations of cinderlib do."""
        return {}

    def _stored(self) -> T:
        """The stored record of this object, and not of another object with a reused id. Raises NotFound."""
        stored = self._library.store.get(type(self._record), self.id)
        if self._record.revision and not is_same(stored, self._record):
            raise NotFound(_kind(self._record), self.id, "was deleted, and its id is used by a newer one")
        self._refuse_other(stored)
        return stored

    def _refuse_other(self, stored: T) -> None:
        """Raises InvalidRequest if this object is not stored yet, and the record with its id is from another creation."""
        if not is_same(stored, self._record):
            problem = (
                f"differs from that of the stored {self._noun} {self.id!r}; use a new id, or the stored {self._noun}"
            )
            raise InvalidRequest("created_at", problem)

    def _refuse_deleted(self) -> None:
        """Raises NotFound if this object was deleted here, or was loaded from the JSON of a deleted one."""
        if self._outcome == "deleted":
            raise NotFound(_kind(self._record), self.id, "was deleted")

    def _store_all(self) -> T:
        return self._put(self._record)

    def _keep(self) -> None:
        """Store what was loaded from JSON. A deleted object stays deleted."""
        if self._outcome != "deleted":
            self._take(self._store_all())

    def _leave_store(self) -> None:
        """The set-up has changed its store: if the new one does not contain the record, the next operation stores it."""
        if self._outcome != "deleted":
            self._has_moved = self._has_moved or bool(self._record.revision)
            self._record = replace(self._record, revision="")

    def _over(self, stored: T, record: T) -> T:
        """The stored record with what JSON describes."""
        return replace(stored, **{name: getattr(record, name) for name in self._IN_JSON})

    def _put(self, record: T) -> T:
        """Create the stored record, or update it, for a record loaded from JSON.

        Raises:
            InvalidRequest: the stored record is from another creation.
            OperationPending: another process works on it.
        """
        store = self._library.store
        for _ in range(10):
            try:
                return store.add(replace(record, revision=""))
            except AlreadyExists:
                try:
                    stored = store.get(type(record), record.id)
                    self._refuse_other(stored)
                    if self._library.presence.alive(stored.owner):
                        raise OperationPending(f"{self._noun} {record.id!r} is being processed by {stored.owner!r}")
                    return store.replace(self._over(stored, record))
                except NotFound:
                    continue
        raise AlreadyExists(type(record).__name__.lower(), record.id)

    def save(self) -> None:
        """Store the changes made to `_ovo` and keep concurrent changes of other fields. A new record is stored completely.

        Raises:
            VolumeNotFound, SnapshotNotFound, ConnectionNotFound: the record was deleted.
        """
        with exception.about(self):
            base = self._base or self._record
            unsaved = self._unsaved()
            if (stored := self._to_change()) is not None:
                saved = self._store_changes(stored, unsaved, base)
            else:
                self._refuse_deleted()
                saved = self._put(self._changed(self._record, unsaved))
            self._saved(saved, unsaved)
            self._library.handles.keep(self)

    def _to_change(self) -> T | None:
        """The stored record that contains the same object; None if all of this object is to be stored. Raises NotFound."""
        if self._record.revision:
            return self._stored()
        if self._has_moved:  # its other values may be older than those of the store
            with contextlib.suppress(NotFound):
                return self._stored()
        return None

    def _saved(self, record: T, stored: Mapping[str, Any]) -> None:
        """Set the record that contains these values. Those that were set in the meantime, by another thread, stay unsaved."""
        now = self._unsaved()
        since = {name for name, value in now.items() if name not in stored or stored[name] != value}
        self._base = self._base_on(record, since)
        self._record, self._outcome, self._has_moved = record, "", False
        self._show(since)
        self._tell_others(record)

    def _unsaved(self) -> dict[str, Any]:
        """Values set here and not stored yet, by column."""
        return versioned.assigned(self._object) if self._object is not None else {}

    def _changed(self, record: T, given: Mapping[str, Any]) -> T:
        """The record with columns set by the user."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read the record again. Lazily loaded objects are loaded again, too."""
        with exception.about(self):
            record = self._library.store.get(type(self._record), self.id)
            self._show()
            self._base = None
            self._take(record)

    # --- JSON

    @property
    def json(self) -> Json:
        """The object with all loaded related objects."""
        return self.to_json(simplified=False)

    @property
    def jsons(self) -> str:
        return self.to_jsons(simplified=False)

    @property
    def dump(self) -> Json:
        """`json`, after loading lazy properties."""
        for name in self.LAZY_PROPERTIES:
            getattr(self, name)
        return self.json

    @property
    def dumps(self) -> str:
        return json_text.dumps(self.dump, separators=(",", ":"))

    def to_json(self, simplified: bool = True) -> Json:
        """As `json`; if simplified, without related objects."""
        config = {"volume_backend_name": self._backend} if isinstance(self._backend, str) else self._backend.config
        return {
            "class": type(self).__name__,
            "backend": config,
            "ovo": self._primitive(self.SIMPLE_JSON_IGNORE if simplified else ()),
        }

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        return versioned.primitive(self._ovo, without)

    def to_jsons(self, simplified: bool = True) -> str:
        return json_text.dumps(self.to_json(simplified), separators=(",", ":"))

    def to_dict(self) -> Json:
        """Only the values of the fields, by object type."""
        fields: Json = bare(self.json["ovo"])
        return fields


def _kind(record: Any) -> str:
    return type(record).__name__.lower()
