"""Consistent group snapshots, based on Cinder's generic volume groups.

Drivers take such a snapshot of a group, so the volumes are added to a group only while it is taken. A volume that remained in the
group could not be in another group snapshot, and some arrays refuse to delete it. The empty group exists as long as the group
snapshot, because drivers find the snapshot by its group.

Some arrays delete the volumes of a group together with the group (dell_emc/unity/adapter.py, dell_emc/powermax/common.py). The record of
the group therefore lists the volumes from before they are added until the driver has removed them. A group is not deleted before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.backend.verbs import Columns
from csi_cinderlib.errors import (
    BackendUnavailable,
    DriverError,
    NotFound,
    PreconditionFailed,
    StaleRecord,
    Unsupported,
)
from csi_cinderlib.lifecycle import lookup
from csi_cinderlib.lifecycle.dependents import Origin
from csi_cinderlib.lifecycle.life import Life
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Group, GroupSnapshot, Provider, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.persistence.optimistic import change

_log = logs.logger(__name__)
MEMBERS = "csi_cinderlib_members"
"""A field of the group snapshot record. It keeps the driver's answer for all members in one write, until their own records have it."""
_IDS = frozenset({"provider_location", "provider_id", "metadata"})
"""Columns by which a driver finds a member. They must not be credentials: this record is not sealed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns to store for a group snapshot, and for its members by id."""

    columns: Columns
    by_member: Mapping[str, Columns]
    members: tuple[Snapshot, ...]


class GroupSnapshots(Life[GroupSnapshot, list[Volume], Answer]):
    point = "group-snapshot"

    def create(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
        """Store the intent for the group snapshot and its members, take it, and store the result."""
        self.room.check()
        members = [replace(member, encryption=self._encryption_of(member)) for member in members]
        record = replace(
            record,
            group_id=record.group_id or record.id,
            snapshot_ids=tuple(member.id for member in members),
            volume_ids=tuple(member.volume_id for member in members),
        )
        with ExitStack() as undo:
            record = self.store.add(self.prepare(record))
            undo.callback(self.ledger.remove, record)
            begun = {"status": Status.CREATING, "owner": record.owner, "created_at": record.created_at}
            for member in members:
                added = self.store.add(replace(member, group_snapshot_id=record.id, **begun))  # type: ignore[arg-type]  # values by name
                undo.callback(self.ledger.remove, added)
            undo.pop_all()
        return self.create_intended(record)

    def _encryption_of(self, member: Snapshot) -> str:
        volume = lookup.get_source_volume(self.store, member.volume_id)
        self.ledger.attachments(volume.id)  # an unreadable attachment must fail the call before any change
        return volume.encryption

    def load_source(self, record: GroupSnapshot) -> list[Volume]:
        return [lookup.get_source_volume(self.store, id) for id in record.volume_ids]

    def prepare_retry(self, record: GroupSnapshot) -> GroupSnapshot:
        members = self._members(record)
        if len(members) != len(record.snapshot_ids):
            # The process ended between the records: the driver was not called, and the other members are unknown.
            for member in members:
                self.ledger.remove(member)
            self.ledger.remove(record)
            raise NotFound("group snapshot", record.id)
        # A retried snapshot can have different content, so a copy in progress must not treat a member as blank.
        for member in members:
            change(self.store, member, lambda current: replace(current, blank=False))
        return record

    def list_objects(self, record: GroupSnapshot) -> tuple[Snapshot, ...]:
        """Include ids that the member records may not have yet. Raises CorruptRecord if one cannot be read."""
        answered: Mapping[str, Columns] = record.fields.get(MEMBERS, {})  # type: ignore[assignment]  # as `_keep_ids` writes it
        return tuple(update_snapshot(member, answered.get(member.id, {})) for member in self._members(record))

    def _members(self, record: GroupSnapshot) -> tuple[Snapshot, ...]:
        return all_of(self.store, Snapshot, {"group_snapshot_id": record.id})

    def forget_ids(self, record: GroupSnapshot) -> GroupSnapshot:
        for member in self._members(record):
            change(self.store, member, lambda current: replace(current, provider=Provider()))
        return _without_ids(record)

    # --- creation

    def create_on_backend(self, record: GroupSnapshot, volumes: list[Volume]) -> Answer:
        """Add the volumes to a group, take the snapshot, and remove them again."""
        members = self._members(record)
        group = self._group(record)
        self.driver.create_group(group, volumes)
        group = change(self.store, group, lambda current: replace(current, volume_ids=record.volume_ids))
        faultpoints.reach("create-group-snapshot.members-written")
        try:
            self._move(group, volumes, add=volumes)
            self._label(record.volume_ids, group.id)
            said = self.driver.create_group_snapshot(record, group, self._volumes(record.volume_ids), members)
        except DriverError:
            with suppress(DriverError):  # repeated before the group is deleted; raise the first error
                self._empty(group, volumes)
            raise
        answer = Answer(*said, members)
        self._keep_ids(record, answer)
        faultpoints.reach("create-group-snapshot.answered")
        self._empty(group, volumes)
        return answer

    def _keep_ids(self, record: GroupSnapshot, answer: Answer) -> None:
        """Store the ids before the group is emptied and the member records are written: a crash must not lose them."""
        found_by = {id: {key: said[key] for key in _IDS & said.keys()} for id, said in answer.by_member.items()}

        def kept(current: GroupSnapshot) -> GroupSnapshot:
            self.ledger.check_own(current, Status.CREATING)
            return replace(current, fields={**current.fields, MEMBERS: found_by})

        with suppress(NotFound, StaleRecord):  # another process took over; `finish` detects that
            change(self.store, record, kept if any(found_by.values()) else _without_ids)

    def apply_answer(self, record: GroupSnapshot, answer: Answer) -> GroupSnapshot:
        kept = {key: value for key, value in answer.columns.items() if key not in ("id", "status")}
        return _without_ids(replace(record, fields={**record.fields, **kept}))

    def keep_ids(self, record: GroupSnapshot, answer: Answer) -> GroupSnapshot:  # noqa: ARG002  # `_keep_ids` has stored them
        return record

    def finish(self, record: GroupSnapshot, answer: Answer) -> GroupSnapshot:
        for member in answer.members:  # raises NotFound if another process has removed one
            blank = lookup.is_blank(self.store, Source(SourceKind.VOLUME, member.volume_id))
            columns = answer.by_member.get(member.id, {})
            change(self.store, member, partial(_finished, columns=columns, blank=blank))
        return super().finish(record, answer)

    def _group(self, record: GroupSnapshot) -> Group:
        return lookup.find(self.store, Group, record.group_id) or self.store.add(
            Group(
                id=record.group_id,
                name=record.name,
                backend=self.driver.name,
                host=self.store.get(Volume, record.volume_ids[0]).host,
                status=Status.AVAILABLE,
                consistent=True,
                created_at=self.ledger.now(),
            )
        )

    def _volumes(self, ids: Sequence[str]) -> list[Volume]:
        return [self.store.get(Volume, id) for id in ids]

    def _move(
        self, group: Group, volumes: Sequence[Volume], *, add: Sequence[Volume] = (), remove: Sequence[Volume] = ()
    ) -> None:
        """Add volumes to a group, or remove them. The driver gets the records with the result of the last move."""
        volumes = [self.ledger.current(volume) for volume in volumes]
        for id, columns in self.driver.update_group(group, volumes, add=add, remove=remove).items():
            volume = self.store.get(Volume, id)
            change(self.store, volume, partial(update_volume, columns=columns))

    def _label(self, volume_ids: Sequence[str], group_id: str) -> None:
        """Set `group_id` on the volumes."""
        for id in volume_ids:
            with suppress(NotFound):  # the volume was deleted
                change(self.store, self.store.get(Volume, id), lambda current: replace(current, group_id=group_id))

    # --- removal from the group

    def _empty(self, group: Group, volumes: Sequence[Volume]) -> Group:
        """Remove all volumes that may be in the group from the group on the array."""
        if not volumes:
            return group
        try:
            self._move(group, volumes, remove=volumes)
        except BackendUnavailable:
            raise
        except DriverError as error:
            _log.info("group emptied volume by volume", group=group.id, backend=self.driver.name, reason=str(error))
            for volume in volumes:
                self._take_out(group, volumes, volume)
        for volume in volumes:
            with suppress(NotFound):  # the volume was deleted
                current = self.store.get(Volume, volume.id)
                change(
                    self.store,
                    current,
                    lambda known: replace(known, group_id="") if known.group_id == group.id else known,
                )
        with suppress(NotFound):  # another process has deleted the group snapshot
            group = change(self.store, group, lambda current: replace(current, volume_ids=()))
        return group

    def _take_out(self, group: Group, volumes: Sequence[Volume], volume: Volume) -> None:
        try:
            self._move(group, volumes, remove=[volume])
        except BackendUnavailable:
            raise
        except DriverError:  # the volume may not be in the group: add it, then remove it
            try:
                self._move(group, volumes, add=[volume])
            except Unsupported:  # it cannot have been added before
                return
            self._move(group, volumes, remove=[volume])

    def _volumes_in(self, group: Group) -> list[Volume]:
        """Volumes that may be in the group on the array. Earlier versions only set `group_id` on the volumes."""
        labelled = (volume.id for volume in all_of(self.store, Volume, {"group_id": group.id}))
        try:
            return self._volumes(list(dict.fromkeys((*group.volume_ids, *labelled))))
        except NotFound as error:
            raise PreconditionFailed(
                f"{error}; the back end may still hold it in group {group.id!r} and delete it with the group"
            ) from None

    # --- deletion

    def is_untouched(self, was: GroupSnapshot) -> bool:
        return was.status is Status.AVAILABLE

    def is_whole_when_refused(self, was: GroupSnapshot) -> bool:  # noqa: ARG002  # of the base class
        """A driver deletes the members one by one, and the last one may be in use."""
        return False

    def delete_on_backend(
        self,
        record: GroupSnapshot,
        *,
        was: GroupSnapshot | None = None,
        origin: Origin | None = None,  # noqa: ARG002  # of single snapshots
    ) -> None:
        self._delete(record, self.list_objects(record), was=was)

    def undo_on_backend(self, record: GroupSnapshot, error: DriverError, answer: Answer | None) -> None:
        # The record of the group is needed to find a snapshot that the back end creates late.
        keeps_group = isinstance(error, BackendUnavailable)
        if answer is None:
            self._delete(record, self.list_objects(record), keeps_group=keeps_group)
            return
        with suppress(DriverError):
            self._group(record)  # its record was removed with the group snapshot and its members
        taken = [update_snapshot(member, answer.by_member.get(member.id, {})) for member in answer.members]
        self._delete(record, taken, keeps_group=keeps_group)

    def _delete(
        self,
        record: GroupSnapshot,
        members: Sequence[Snapshot],
        *,
        was: GroupSnapshot | None = None,
        keeps_group: bool = False,
    ) -> None:
        group = lookup.find(self.store, Group, record.group_id)
        if group is None:
            return  # the driver was not called yet, or everything is deleted
        group = self._empty(group, self._volumes_in(group))
        self._delete_snapshots(record, group, members, was)
        self.driver.delete_group(group)
        if not keeps_group:
            self.ledger.remove(group)

    def leave_on_backend(self, record: GroupSnapshot) -> None:
        """Leave the group on the array as well: an array with such members may have had this group before."""
        group = lookup.find(self.store, Group, record.group_id)
        if group is None:
            return  # the driver was not called yet, or everything is deleted
        group = self._empty(group, self._volumes_in(group))
        super().leave_on_backend(record)
        self.ledger.remove(group)

    def _delete_snapshots(
        self, record: GroupSnapshot, group: Group, members: Sequence[Snapshot], was: GroupSnapshot | None
    ) -> None:
        outcomes = self.driver.delete_group_snapshot(record, group, members)
        for member in members:
            before = replace(member, status=was.status) if was is not None else None  # a member's own status stays
            self.ledger.note_outcome(member, before, replace(outcomes[member.id], failure=None))
        for outcome in outcomes.values():
            if outcome.failure is not None:
                raise outcome.failure

    def remove_record(self, record: GroupSnapshot) -> bool:
        for member in self.list_objects(record):
            self.ledger.remove_snapshot(member)
        return self.ledger.remove(record)


def _without_ids(record: GroupSnapshot) -> GroupSnapshot:
    """Drop the ids once the member records have them, or the members are deleted."""
    return replace(record, fields={key: value for key, value in record.fields.items() if key != MEMBERS})


def _finished(current: Snapshot, *, columns: Columns, blank: bool) -> Snapshot:
    done = update_snapshot(current, columns)
    return replace(done, status=Status.AVAILABLE, owner="", message="", blank=blank)
