"""The common base of volumes, snapshots and connections: a record, its back end, and Cinder's object for it."""

from __future__ import annotations

import json as json_text
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import class_attributes, exception
from csi_cinderlib.errors import AlreadyExists, DriverError, InvalidRequest, NotFound
from csi_cinderlib.model import times
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library
    from csi_cinderlib.lifecycle.local import LocalBackend as Core

T = TypeVar("T", Volume, Snapshot, Attachment)

_STATUSES = {"available": Status.AVAILABLE, "in-use": Status.AVAILABLE, "error": Status.ERROR}
"""The statuses that a user may set with `save`. The others mark operations in progress."""


class Object(Generic[T]):
    """A volume, snapshot or connection.

    Every field of Cinder's versioned object (`_ovo`) is an attribute: `volume.provider_location`, `snapshot.volume_size`.
    """

    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ()
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ()
    CONTEXT: ClassVar[Any] = class_attributes.Late(class_attributes.context)
    """Cinder's context, for direct calls of a driver."""
    backend_class: ClassVar[Any] = class_attributes.Late(class_attributes.backend_class)
    persistence = class_attributes.OfSetUp("persistence")
    """The metadata store of the set-up."""

    def __init__(self, library: Library, record: T, backend: Backend | str) -> None:
        self._library = library
        library.objects[id(self)] = self
        self._record: T = record
        self._backend = backend
        self._object: Any = None
        self._outcome = ""

    # --- properties

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def backend(self) -> Backend | str:
        """The back end; or its name if it is not loaded and `setup` was called with `fail_on_missing_backend=False`."""
        return self._backend

    @property
    def _ovo(self) -> Any:
        """Cinder's versioned object. `save` stores changes made to it."""
        if self._object is None:
            self._object = self._make()
        return self._object

    def _make(self) -> Any:
        versioned_object = self._versioned()
        if self._outcome and "status" in versioned_object.fields:
            versioned_object.status = self._outcome
            versioned_object.deleted = self._outcome == "deleted"
            versioned_object.obj_reset_changes(["status", "deleted"])
        return versioned_object

    def _versioned(self) -> Any:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Fields of Cinder's object, as documented for cinderlib."""
        if name.startswith("_"):
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
        """Set the record, and update Cinder's object in place for callers that hold it."""
        self._record, self._outcome = record, outcome
        if self._object is not None:
            now = self._make()
            vars(self._object).clear()
            vars(self._object).update(vars(now))

    def _current(self) -> T:
        """The stored record. A record loaded from JSON is stored first.

        Raises:
            NotFound: the record was deleted.
        """
        store = self._library.store
        try:
            record = store.get(type(self._record), self.id)
        except NotFound:
            if self._record.revision:
                raise
            record = self._store_all()
        self._take(record)
        return record

    def _store_all(self) -> T:
        return self._put(self._record)

    def _leave_store(self) -> None:
        """The set-up has changed its store: if the new one does not contain the record, the next operation stores it."""
        if self._outcome != "deleted":
            self._record = replace(self._record, revision="")

    def _put(self, record: T) -> T:
        """Create or overwrite the stored record, for a record loaded from JSON."""
        store = self._library.store
        for _ in range(10):
            try:
                return store.add(replace(record, revision=""))
            except AlreadyExists:
                try:
                    return store.replace(replace(record, revision=store.get(type(record), record.id).revision))
                except NotFound:
                    continue
        raise AlreadyExists(type(record).__name__.lower(), record.id)

    def save(self) -> None:
        """Store the changes made to `_ovo` and keep concurrent changes of other fields. A new record is stored completely.

        Raises:
            VolumeNotFound, SnapshotNotFound, ConnectionNotFound: the record was deleted.
        """
        with exception.about(self):
            unsaved, store = self._unsaved(), self._library.store
            if self._record.revision:
                stored = store.get(type(self._record), self.id)
                self._take(change(store, stored, lambda record: self._changed(record, unsaved)))
            else:
                self._take(self._put(self._changed(self._record, unsaved)))

    def _unsaved(self) -> dict[str, Any]:
        """Values set here and not stored yet, by column."""
        return versioned.changes(self._object) if self._object is not None else {}

    def _changed(self, record: T, given: Mapping[str, Any]) -> T:
        """The record with columns set by the user."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read the record again. Lazily loaded objects are loaded again, too."""
        with exception.about(self):
            record = self._library.store.get(type(self._record), self.id)
            self._object = None
            self._take(record)

    # --- JSON

    @property
    def json(self) -> dict[str, Any]:
        """The object with all loaded related objects."""
        return self.to_json(simplified=False)

    @property
    def jsons(self) -> str:
        return self.to_jsons(simplified=False)

    @property
    def dump(self) -> dict[str, Any]:
        """`json`, after loading lazy properties."""
        for name in self.LAZY_PROPERTIES:
            getattr(self, name)
        return self.json

    @property
    def dumps(self) -> str:
        return json_text.dumps(self.dump, separators=(",", ":"))

    def to_json(self, simplified: bool = True) -> dict[str, Any]:
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

    def to_dict(self) -> dict[str, Any]:
        """Only the values of the fields, by object type."""
        fields: dict[str, Any] = _bare(self.json["ovo"])
        return fields


N = TypeVar("N", Volume, Snapshot)


class NamedObject(Object[N]):
    """An object with a user-defined name and description."""

    @property
    def name(self) -> str:
        """The user-defined name."""
        return str(getattr(self._record, "name", ""))

    @property
    def description(self) -> Any:
        return self._ovo.display_description

    @property
    def name_in_storage(self) -> str:
        """The name on the storage."""
        return str(self._ovo.name)

    # --- failures

    def _after_failed_creation(self) -> None:
        """Take over the record that a failed creation has left, so that `delete` cleans up."""
        self._take(let_go(self._library, self._record) or self._record, "error")

    def _after_failed_deletion(self) -> None:
        stored = let_go(self._library, self._record) or self._record
        self._take(stored, "error_deleting" if stored.status is Status.DELETING else "")

    def _doomed(self) -> N | None:
        """The record to delete; None if the creation failed and no record was stored."""
        if self._outcome != "error" or self._record.revision:
            return self._current()
        try:
            stored = self._library.store.get(type(self._record), self.id)
        except NotFound:
            return None
        return stored if _is_same(stored, self._record) else None


def let_go(library: Library, record: T) -> T | None:
    """Release the stored record after a failure, so that another process may retry at once.

    Returns:
        The record; None if there is none, if it is another record with the same id, or if the store does not respond.
    """
    try:
        stored = library.store.get(type(record), record.id)
        if not _is_same(stored, record):
            return None
        return change(
            library.store,
            stored,
            lambda current: replace(current, owner="") if current.owner == library.owner else current,
        )
    except DriverError:
        return None


def _is_same(stored: T, record: T) -> bool:
    """Whether both are from the same creation. An id may be reused; the creation time in microseconds differs then."""
    return stored.created_at == record.created_at


def new_status(record: Volume | Snapshot, columns: Mapping[str, Any]) -> Status:
    """The status after the user's change.

    Raises:
        InvalidRequest: the status cannot be set to that value.
    """
    if "status" not in columns:
        return record.status
    if columns["status"] not in _STATUSES:
        raise InvalidRequest("status", f"must be one of {', '.join(_STATUSES)} (got {columns['status']!r})")
    return _STATUSES[columns["status"]]


def columns(kind: type[Volume] | type[Snapshot], given: Mapping[str, Any], known: Iterable[str] = ()) -> dict[str, Any]:
    """The user's fields of Cinder's object, after a check of their names.

    Raises:
        InvalidRequest: a field does not exist or is derived from others.
    """
    allowed = versioned.settable(kind) | set(known)
    for name in given:
        if name not in allowed:
            raise InvalidRequest(name, f"unsupported field of a {kind.__name__.lower()}")
    return {name: value for name, value in given.items() if value is not None}


def tenant(library: Library, given: Mapping[str, Any]) -> dict[str, Any]:
    """The project and user fields of a record."""
    return {
        "project_id": given.get("project_id") or library.project_id,
        "user_id": given.get("user_id") or library.user_id,
    }


def now() -> str:
    return times.stamp(times.utc_now())


def updated_volume(record: Volume, given: Mapping[str, Any]) -> Volume:
    """The record with the user's columns, including those that a driver may not set."""
    changed = update_volume(record, given)
    return replace(changed, name=str(given.get("display_name", record.name) or ""))


def updated_snapshot(record: Snapshot, given: Mapping[str, Any]) -> Snapshot:
    changed = update_snapshot(record, given)
    return replace(changed, name=str(given.get("display_name", record.name) or ""))


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "versioned_object.data" in value:
        data = value["versioned_object.data"]
        if set(data) == {"objects"}:
            return _bare(data["objects"])
        return {value["versioned_object.name"].lower(): {key: _bare(item) for key, item in data.items()}}
    return {key: _bare(item) for key, item in value.items()}
