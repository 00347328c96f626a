"""The common base of volumes and snapshots: the user's name and description, creation and deletion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from csi_cinderlib.cinderlib import default, fields
from csi_cinderlib.cinderlib.attributes import MaybeNone
from csi_cinderlib.cinderlib.creations import is_same, let_go, now
from csi_cinderlib.cinderlib.handle import Object
from csi_cinderlib.errors import InvalidRequest, NotFound, PreconditionFailed
from csi_cinderlib.model import times
from csi_cinderlib.model.encryption import ENCRYPTION, find_unknown
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import FOREIGN, Provider, Snapshot, Status, Volume

N = TypeVar("N", Volume, Snapshot)

OWN_FIELDS = ("name_taken", "encryption", "header")
"""Fields of a record that are in JSON of this library only. cinderlib ignores them."""
_OF_OTHERS = frozenset({*FOREIGN, Status.IMPORTING, Status.UNMANAGING})
"""Whose the object is, is not decided, or not by this library."""


def encryption_in(data: Mapping[str, Any]) -> str:
    """The encryption in JSON of a volume. Raises InvalidRequest."""
    value = str(data.get(ENCRYPTION) or "")
    if value and (why := find_unknown(value)):
        raise InvalidRequest(ENCRYPTION, why)
    return value


class NamedObject(Object[N]):
    """An object with a user-defined name and description."""

    @property
    def name(self) -> str | MaybeNone:
        """The user-defined name; None if there is none."""
        if self._object is not None:
            shown: str | None = self._object.display_name
            return shown
        return self._record.name or cast("str | None", self._record.fields.get("display_name"))

    @property
    def description(self) -> str | None:
        description: str | None = self._ovo.display_description
        return description

    @property
    def name_in_storage(self) -> str:
        """The name on the storage."""
        return str(self._ovo.name)

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        """With the values that Cinder's objects lack and that must not get lost: the note that the object of the same name is not this one,
        so that it is never deleted, and the encryption, so that the volume is never used in plain. An object of another owner has that note,
        too: a record from JSON is usable otherwise.
        """
        primitive = super()._primitive(without)
        data = primitive["versioned_object.data"]
        data.update({name: value for name in OWN_FIELDS if (value := getattr(self._record, name, ""))})
        if self._record.status in _OF_OTHERS and not default.is_serving():  # a plugin stores the record itself as well
            data.setdefault("name_taken", f"it was {self._record.status} when its JSON was written")
        return primitive

    # --- the record

    def _stored_first(self) -> dict[str, Any]:
        return self._unsaved()

    def _with_unsaved(self) -> N:
        """The record with the values set here and not stored yet."""
        unsaved = self._unsaved()
        return self._changed(self._record, unsaved) if unsaved else self._record

    def _to_create(self) -> N:
        """The record to create, with all values set here. A deleted object is a new one if it is created again.

        Raises:
            PreconditionFailed: this object is stored already, and its creation was interrupted.
        """
        if self._record.revision and self._outcome != "deleted":
            self._refuse_interrupted(self._stored())
        record = self._with_unsaved()
        if self._outcome == "deleted":
            record = replace(record, created_at=now(), provider=Provider(), revision="", unfinished=False)
        return fields.without_results(record)

    def _as_source(self) -> N:
        """The record of an object to copy.

        Raises:
            PreconditionFailed: its process died during an operation; the message says how to finish it.
        """
        record = self._current()
        if record.status is Status.AVAILABLE:
            return record
        with self._library.busy(self.id):  # until no other thread works on it
            record = self._current()
            self._refuse_interrupted(record)
            return record

    def _refuse_interrupted(self, record: N) -> None:
        """Call it while the object is locked. Raises PreconditionFailed."""
        if record.status in (Status.CREATING, Status.EXTENDING) and not self._library.presence.alive(record.owner):
            raise PreconditionFailed(f"{self._noun} {self.id!r}: its {_remedy(record)}")

    # --- failures

    def _after_failed_creation(self) -> None:
        """Take over the record that a failed creation has left, so that `delete` cleans up."""
        self._take(let_go(self._library, self._record) or self._record, "error")

    def _after_failed_deletion(self) -> None:
        stored = let_go(self._library, self._record) or self._record
        self._take(stored, "error_deleting" if stored.status is Status.DELETING else "")

    def _doomed(self) -> N | None:
        """The record to delete; None if there is none, because the creation failed or the object was deleted already.

        Raises:
            InvalidRequest: this object is from JSON, and the record with its id is from another creation.
        """
        if self._outcome == "deleted":
            return None
        try:
            stored = self._library.store.get(type(self._record), self.id)
        except NotFound:
            return None if self._record.revision or self._outcome == "error" else self._store_all()
        if not is_same(stored, self._record) and (self._record.revision or self._outcome == "error"):
            return None
        self._refuse_other(stored)
        return stored

    def _gone(self) -> None:
        """Show the object as deleted. A repeated deletion keeps the time of the first one."""
        self._deleted_at = self._deleted_at or times.utc_now()
        shown = vars(self._object) if self._object is not None else {}
        if not shown or any(shown.get(name) for name in _RELATED):
            self._take(self._record, "deleted")
        else:  # the record has not changed, so Cinder's object needs only the outcome
            self._outcome = "deleted"
            self._mark(self._object)


_RELATED = ("_obj_volume_attachment", "_obj_snapshots")
"""Attributes of Cinder's object with objects that a deleted one does not have."""


def _remedy(record: Volume | Snapshot) -> str:
    """How to finish an interrupted operation."""
    if isinstance(record, Volume) and record.status is Status.EXTENDING:
        size = record.target_size or record.size
        return f"extension to {size} GiB was interrupted; call extend({size}) to finish it"
    return "creation was interrupted; call delete(), and create it again"
