"""The volumes that a plan has adopted, as the store has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.marks import Key, Marks
from csi_cinderlib.errors import DriverError, InUse, PreconditionFailed
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import walk_all

USED = (
    "has been used since it was adopted: it was attached, extended, modified or reverted, or a snapshot of it was deleted, "
    "or the store was restored from a copy"
)


@dataclass(frozen=True, slots=True)
class Adopted:
    """A volume with its snapshots.

    Attributes:
        snapshots: those of the plan.
        others: ids of snapshots that Cinder does not know.
    """

    volume: Volume
    snapshots: tuple[Snapshot, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[Any, ...]:
        """The volume, then its snapshots."""
        return (self.volume, *self.snapshots)

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(key_of(record) for record in self.records)

    @property
    def is_decided(self) -> bool:
        """Whether its removal was decided, and cannot be undone."""
        return self.volume.status is Status.RETURNED

    def check(self, name: str) -> None:
        """Raises PreconditionFailed if it cannot be returned to Cinder."""
        if self.volume.adoption != name:
            raise PreconditionFailed("was adopted by another plan" if self.volume.adoption else USED)
        for record in self.records:
            what = "" if record is self.volume else f"its snapshot {record.id} "
            if record.owner or record.status not in (Status.AVAILABLE, Status.ADOPTING, Status.RETURNING):
                raise PreconditionFailed(f"{what}is {record.status}, or an operation on it is not finished")

    def check_unused(self, attachments: Mapping[str, str]) -> None:
        """Raises InUse if an attachment or a snapshot needs it.

        Args:
            attachments: nodes by the id of the volume.
        """
        if node := attachments.get(self.volume.id):
            raise InUse(f"is attached to {node}; detach it first")
        if self.others:
            raise InUse(f"has the snapshot {self.others[0]}, which Cinder does not know; delete it first")


@dataclass(frozen=True, slots=True)
class Content:
    """What a store has of a plan.

    Attributes:
        volumes: by id.
        copies: ids of the copies by the id of their source, of all volumes.
        attachments: nodes by the id of the volume.
        missing: how many records of the completed adoption are not in the store.
    """

    volumes: Mapping[str, Adopted]
    copies: Mapping[str, Sequence[str]]
    attachments: Mapping[str, str]
    marks: Marks
    missing: int

    def problem(self, name: str, item: Adopted) -> str:
        """Why a volume cannot be returned, apart from its copies; "" if it can."""
        if item.is_decided:
            return ""
        try:
            item.check(name)
            item.check_unused(self.attachments)
        except DriverError as error:
            return str(error)
        return ""

    def without_copied(
        self, items: Iterable[Adopted], decided: Iterable[Adopted] = ()
    ) -> tuple[list[Adopted], dict[str, str]]:
        """The volumes without copies that stay, and why the others stay. A volume that stays keeps its own sources."""
        left, problems, gone = list(items), {}, {item.volume.id for item in decided}
        while refused := {item.volume.id: copy for item in left if (copy := self._copy(item, left, gone))}:
            for id, copy in refused.items():
                problems[id] = f"volume {copy} was created from it; delete that volume first"
            left = [item for item in left if item.volume.id not in refused]
        return left, problems

    def _copy(self, item: Adopted, left: Iterable[Adopted], gone: Iterable[str]) -> str:
        """A copy that stays, or ""."""
        leaving = {*gone, *(other.volume.id for other in left)}
        ids = (record.id for record in item.records)
        return next((copy for id in ids for copy in self.copies.get(id, ()) if copy not in leaving), "")


def read(store: Store, name: str) -> Content:
    """Raises CorruptRecord: a record may be one of the plan, or a copy of one."""
    known = marks.read(store)
    volumes, snapshots, copies = {}, defaultdict(list), defaultdict(list)
    present: list[Key] = []
    for volume in walk_all(store, Volume):
        present.append(key_of(volume))
        if volume.source:
            copies[volume.source.id].append(volume.id)
        is_its_own = name in known.completed and known.has(name, key_of(volume))
        if volume.adoption == name or is_its_own:
            volumes[volume.id] = volume
    for snapshot in walk_all(store, Snapshot):
        present.append(key_of(snapshot))
        snapshots[snapshot.volume_id].append(snapshot)
    items = {id: _adopted(volume, snapshots[id], name) for id, volume in volumes.items()}
    attachments = {item.volume_id: item.node_id for item in walk_all(store, Attachment)}
    missing = known.missing(name, present) if name in known.completed else 0
    return Content(items, copies, attachments, known, missing)


def _adopted(volume: Volume, snapshots: Sequence[Snapshot], name: str) -> Adopted:
    return Adopted(
        volume,
        tuple(snapshot for snapshot in snapshots if snapshot.adoption == name),
        tuple(snapshot.id for snapshot in snapshots if snapshot.adoption != name),
    )


def key_of(record: Any) -> Key:
    return kind_name(type(record)), record.id
