"""The owners of the objects on the back ends: the records, whichever way they were made.

An object must never have two records. Imports and adoptions therefore ask this index before they add a record. Two descriptions may mean
the same object unless something proves that they do not, so a doubt is an owner as well:

- An id in a name is unique everywhere: two back ends may be the same array or directory.
- A name that its owner kept is unique in its place (`Imported.place`). If one place is not known, or both are volume groups, the name
  counts everywhere, and the name of a snapshot for its volume.
- Ids assigned by the array count on their back end. A reference of an import is such an id whatever the driver calls it. Of two records,
  `provider_id` is compared only if one is imported and both are of one kind: several drivers store in it what many objects share, such as a
  project, or the volume of a snapshot. For the same reason `provider_location` is compared with references only.
- An id in the former name of an imported object stays with it, because Cinder's database may still have that id.
- The object of an unreadable record may have any name.

Two processes that add records at the same time do not see each other's before. So each asks once more after it has stored its own
(`refusals`): at least one of both then gives way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.backend.verbs import is_name
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_GROUP = re.compile(r"\w{6}(?:-\w{4}){5}-\w{6}")
_RENAMED = (Status.AVAILABLE, Status.EXTENDING, Status.DELETING, Status.ERROR)
"""A managed object had its former name before these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An object on a back end.

    Attributes:
        reference: the driver's reference to it (Cinder's `existing_ref`).
        place: what contains it, for example a directory; "" if unknown.
        volume_id: of a snapshot: the id of its volume; "" for a volume.
        record: the id of the record for which the caller asks, which is not reported; "" reports every owner.
    """

    backend: str
    reference: Mapping[str, str]
    place: str = ""
    volume_id: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A name or id that an owner uses. Empty fields match any value, except `backend`: "" is every back end."""

    owner: str
    description: str
    backend: str = ""
    place: str = ""
    volume_id: str = ""

    def may_mean(self, other: _Claim) -> bool:
        if self.owner == other.owner or (self.backend and other.backend and self.backend != other.backend):
            return False
        if self.place and self.place == other.place:
            return True
        if self.place and other.place and not (_is_group(self.place) and _is_group(other.place)):
            return False
        return not (self.volume_id and other.volume_id) or self.volume_id == other.volume_id


class Owners:
    """The owners of the objects on all back ends. Not thread-safe."""

    def __init__(self, records: Iterable[Volume | Snapshot] = ()) -> None:
        self._claims: defaultdict[tuple[str, str], list[_Claim]] = defaultdict(list)
        self._unreadable: dict[str, str] = {}
        self._without_id: dict[str, str] = {}
        """A volume without an id of its array, by back end."""
        for record in records:
            self.add(record)

    @classmethod
    def read(cls, store: Store) -> Owners:
        """From all volumes and snapshots of a store. Raises StoreUnavailable."""
        owners = cls()
        kinds: Any = (Volume, Snapshot)
        for kind in kinds:
            for record in walk_with_unreadable(store, kind):
                if isinstance(record, str):
                    owners.add_unreadable(kind.__name__.lower(), record)
                else:
                    owners.add(record)
        return owners

    def add(self, record: Volume | Snapshot) -> None:
        """Add a record, for example one of the same plan. A DELETED one owns nothing."""
        if record.status is Status.DELETED:
            return
        for key, claim in _claims_of(record):
            self._claims[key].append(claim)
        if isinstance(record, Volume) and not (_assigned(record) or _has_id(_reference(record))):
            self._without_id[record.backend] = record.id

    def add_unreadable(self, kind: str, id: str) -> None:
        """Add a record that cannot be read: nothing but its id is known."""
        description = f"it may be {kind} {id!r}, whose record cannot be read; restore or remove that record first"
        self._unreadable[id] = description
        self._claims["id", id.lower()].append(_Claim(id, description))

    def of(self, target: Target) -> str:
        """The owner of an object, as a clause; "" if it has none."""
        return self._first(_wanted_by(target), target.record)

    def of_record(self, record: Volume | Snapshot) -> str:
        """Another owner of the object of this record, as a clause; "" if it has none. The record may be in the index."""
        return self._first(_wanted_of(record), record.id)

    def without_id(self, backend: str) -> str:
        """A volume that may have any id on its array, or ""."""
        return self._without_id.get(backend, "")

    def _first(self, claims: Iterable[tuple[tuple[str, str], _Claim]], id: str) -> str:
        for key, wanted in claims:
            for claim in self._claims.get(key, ()):
                if claim.may_mean(wanted):
                    return claim.description
        return next((description for owner, description in self._unreadable.items() if owner != id), "")


def _is_group(place: str) -> bool:
    """Whether it is a volume group of LVM. All groups of a host share the names of the exports, and an export is used if it exists."""
    return _GROUP.fullmatch(place) is not None


def refusals(store: Store, records: Iterable[Volume | Snapshot]) -> dict[str, str]:
    """The other owners of the objects of these records, by the id of the record.

    Call it after the records are stored, with a status in which nothing uses them. Raises StoreUnavailable.
    """
    owners = Owners.read(store)
    return {record.id: owner for record in records if (owner := owners.of_record(record))}


_Claims = Iterator[tuple[tuple[str, str], _Claim]]
"""Kind and value of a name or id, with who uses it."""


def _claims_of(record: Volume | Snapshot) -> _Claims:
    """All names and ids by which a back end, or Cinder, may know the object of a record."""
    described = f"it is {noun(record)} {record.id!r} ({record.status})"
    yield from _ids_of(record, _Claim(record.id, described))
    on_backend = _Claim(record.id, described, record.backend)
    for value in _assigned(record):
        yield ("assigned", value), on_backend
    yield from _provider_id(record, "any", on_backend)
    if record.imported is None:
        return
    yield from _provider_id(record, "imported", on_backend)
    yield from _claims_by(_reference(record), _named_claim(record, described))
    for value in record.imported.reference.values():
        for id in _ID.findall(value):
            yield ("former id", id.lower()), _Claim(record.id, described)


def _wanted_by(target: Target) -> _Claims:
    """What another record must not claim, for an object with this reference."""
    wanted = _Claim(target.record, "", target.backend, target.place, target.volume_id)
    yield from _claims_by(target.reference, wanted)
    for value in target.reference.values():
        yield ("id", value.lower()), wanted
        yield ("assigned", value), wanted


def _wanted_of(record: Volume | Snapshot) -> _Claims:
    """What another record must not claim, for the object of this record."""
    anywhere, on_backend = _Claim(record.id, ""), _Claim(record.id, "", record.backend)
    for key, claim in _ids_of(record, anywhere):
        yield key, claim
        if record.imported is None:
            yield ("former id", key[1]), claim
    for value in _assigned(record):
        yield ("id on array", value), on_backend
    yield from _provider_id(record, "imported", on_backend)
    if record.imported is not None:
        yield from _provider_id(record, "any", on_backend)
        named = _named_claim(record, "")
        yield from _wanted_by(
            Target(
                backend=record.backend,
                reference=_reference(record),
                place=named.place,
                volume_id=named.volume_id,
                record=record.id,
            )
        )


def _ids_of(record: Volume | Snapshot, claim: _Claim) -> _Claims:
    for id in {record.id, str(record.fields.get("_name_id") or record.fields.get("name_id") or record.id)}:
        yield ("id", id.lower()), claim


def _assigned(record: Volume | Snapshot) -> set[str]:
    return {str(value) for value in (record.provider.id, record.provider.location) if value}


def _provider_id(record: Volume | Snapshot, who: str, claim: _Claim) -> _Claims:
    """The driver's id in the name space of its kind.

    Args:
        who: "imported", or "any" record.
    """
    if record.provider.id:
        yield (f"id of {who} {noun(record)}", str(record.provider.id)), claim


def _named_claim(record: Volume | Snapshot, described: str) -> _Claim:
    volume_id = record.volume_id if isinstance(record, Snapshot) else ""
    place = record.imported.place if record.imported else ""
    return _Claim(record.id, described, record.backend, place, volume_id)


def _reference(record: Volume | Snapshot) -> Mapping[str, str]:
    """The driver's reference to an imported object, without the names that it no longer has."""
    imported = record.imported
    if imported is None:
        return {}
    is_renamed = not imported.static and record.status in _RENAMED
    return {key: value for key, value in imported.reference.items() if not (is_renamed and is_name(key))}


def _has_id(reference: Mapping[str, str]) -> bool:
    return any(not is_name(key) for key in reference)


def _claims_by(reference: Mapping[str, str], claim: _Claim) -> _Claims:
    """The names and ids in a driver's reference."""
    anywhere = _Claim(claim.owner, claim.description)
    on_backend = _Claim(claim.owner, claim.description, claim.backend)
    named = _Claim(claim.owner, claim.description, "", claim.place, claim.volume_id)
    for key, value in reference.items():
        for id in _ID.findall(value):
            yield ("id", id.lower()), anywhere
        yield ("name" if is_name(key) else "id on array", value), named if is_name(key) else on_backend
