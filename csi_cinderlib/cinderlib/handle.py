"""What volumes, snapshots and connections have in common: a record, the back end it is on, and Cinder's object of it."""

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
"""What `save` takes when somebody sets the status by hand; the others are intents of ours."""


class Object(Generic[T]):
    """A volume, snapshot or connection.

    Every field of Cinder's versioned object (`_ovo`) is an attribute: `volume.provider_location`, `snapshot.volume_size`.
    """

    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ()
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ()
    CONTEXT: ClassVar[Any] = class_attributes.Late(class_attributes.context)
    """Cinder's context, for whoever calls a driver by himself."""
    backend_class: ClassVar[Any] = class_attributes.Late(class_attributes.backend_class)
    persistence = class_attributes.OfSetUp("persistence")
    """The metadata store of the set-up."""

    def __init__(self, library: Library, record: T, backend: Backend | str) -> None:
        self._library = library
        self._record: T = record
        self._backend = backend
        self._object: Any = None
        self._outcome = ""

    # --- what it is

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def backend(self) -> Backend | str:
        """The back end, or its name when `setup` said `fail_on_missing_backend=False` and it is not loaded."""
        return self._backend

    @property
    def _ovo(self) -> Any:
        """Cinder's versioned object. What is set on it is kept by `save`."""
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
        """The reference documents each field of Cinder's object as an attribute of ours."""
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
        """What works on the storage.

        Raises:
            NotFound: the back end is not loaded.
        """
        if isinstance(self._backend, str):
            raise NotFound("back end", self._backend)
        return self._backend.core

    def _take(self, record: T, outcome: str = "") -> None:
        """The record as it is now; whoever holds Cinder's object sees it there, too."""
        self._record, self._outcome = record, outcome
        if self._object is not None:
            now = self._make()
            vars(self._object).clear()
            vars(self._object).update(vars(now))

    def _current(self) -> T:
        """The record as it is stored. One that came out of JSON and was never stored is stored now, before it is used.

        Raises:
            NotFound: somebody deleted it.
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

    def _put(self, record: T) -> T:
        """Create or overwrite the stored record: for one that came from elsewhere."""
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
        """Store what was set on `_ovo`, on top of what others have stored meanwhile. One that was never stored is stored whole.

        Raises:
            VolumeNotFound, SnapshotNotFound, ConnectionNotFound: somebody deleted it.
        """
        with exception.about(self):
            unsaved, store = self._unsaved(), self._library.store
            if self._record.revision:
                stored = store.get(type(self._record), self.id)
                self._take(change(store, stored, lambda record: self._changed(record, unsaved)))
            else:
                self._take(self._put(self._changed(self._record, unsaved)))

    def _unsaved(self) -> dict[str, Any]:
        """What was set here and is not stored yet, by column."""
        return versioned.changes(self._object) if self._object is not None else {}

    def _changed(self, record: T, given: Mapping[str, Any]) -> T:
        """The record with these columns set by hand."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read the record again; somebody else may have changed it. What was loaded lazily is loaded again."""
        with exception.about(self):
            record = self._library.store.get(type(self._record), self.id)
            self._object = None
            self._take(record)

    # --- JSON

    @property
    def json(self) -> dict[str, Any]:
        """Everything that is loaded, with what hangs on it."""
        return self.to_json(simplified=False)

    @property
    def jsons(self) -> str:
        return self.to_jsons(simplified=False)

    @property
    def dump(self) -> dict[str, Any]:
        """Everything, with lazy properties loaded first."""
        for name in self.LAZY_PROPERTIES:
            getattr(self, name)
        return self.json

    @property
    def dumps(self) -> str:
        return json_text.dumps(self.dump, separators=(",", ":"))

    def to_json(self, simplified: bool = True) -> dict[str, Any]:
        """Simplified: without what hangs on it."""
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
        """The fields' values alone, by the kind of object."""
        fields: dict[str, Any] = _bare(self.json["ovo"])
        return fields


N = TypeVar("N", Volume, Snapshot)


class NamedObject(Object[N]):
    """One that its user gives a name and a description."""

    @property
    def name(self) -> str:
        """The user's name for it."""
        return str(getattr(self._record, "name", ""))

    @property
    def description(self) -> Any:
        return self._ovo.display_description

    @property
    def name_in_storage(self) -> str:
        """What the driver calls it."""
        return str(self._ovo.name)

    # --- failures

    def _after_failed_creation(self) -> None:
        """Know the record that it left, so that `delete` cleans up."""
        self._take(let_go(self._library, self._record) or self._record, "error")

    def _after_failed_deletion(self) -> None:
        stored = let_go(self._library, self._record) or self._record
        self._take(stored, "error_deleting" if stored.status is Status.DELETING else "")

    def _doomed(self) -> N | None:
        """The record to delete; None when a creation failed, and the store knows nothing of it."""
        if self._outcome != "error" or self._record.revision:
            return self._current()
        try:
            stored = self._library.store.get(type(self._record), self.id)
        except NotFound:
            return None
        return stored if _is_same(stored, self._record) else None


def let_go(library: Library, record: T) -> T | None:
    """After a failure: take this process's name off the stored record, so that another process may try again at once.

    Returns:
        it, or None when there is none, when it is somebody else's of the same id, or when the store does not answer.
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
    """Whether the record is of the same making: an id can be given again, the moment with its microseconds is not."""
    return stored.created_at == record.created_at


def new_status(record: Volume | Snapshot, columns: Mapping[str, Any]) -> Status:
    """The status with what was set by hand.

    Raises:
        InvalidRequest: it cannot be set to that.
    """
    if "status" not in columns:
        return record.status
    if columns["status"] not in _STATUSES:
        raise InvalidRequest("status", f"can be set to {', '.join(_STATUSES)}, not to {columns['status']!r}")
    return _STATUSES[columns["status"]]


def columns(kind: type[Volume] | type[Snapshot], given: Mapping[str, Any], known: Iterable[str] = ()) -> dict[str, Any]:
    """Fields of Cinder's object as a user gives them, checked by name.

    Raises:
        InvalidRequest: there is no such field, or it follows from others.
    """
    allowed = versioned.settable(kind) | set(known)
    for name in given:
        if name not in allowed:
            raise InvalidRequest(name, f"is not a field of a {kind.__name__.lower()} that can be given")
    return {name: value for name, value in given.items() if value is not None}


def tenant(library: Library, given: Mapping[str, Any]) -> dict[str, Any]:
    """Project and user, as fields of a record."""
    return {
        "project_id": given.get("project_id") or library.project_id,
        "user_id": given.get("user_id") or library.user_id,
    }


def now() -> str:
    return times.stamp(times.utc_now())


def updated_volume(record: Volume, given: Mapping[str, Any]) -> Volume:
    """The record with a user's columns, also those that a driver may not set."""
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
