"""Attachments: exports a volume, maps it to a node, and fences the node on detach."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.verbs import Driver, Released
from csi_cinderlib.errors import (
    BackendUnavailable,
    DriverError,
    NotFound,
    OperationPending,
    StaleRecord,
)
from csi_cinderlib.lifecycle import lookup, modifications, reverts
from csi_cinderlib.lifecycle.ledger import UNFINISHED, Ledger
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import FOREIGN, Attachment, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.optimistic import change

Check = Callable[[Sequence[Attachment]], None]
"""Raises if the other attachments of the volume exclude another one."""
_log = logs.logger(__name__)


def any_number(_others: Sequence[Attachment]) -> None:
    """Accept any number of attachments."""


def note_raw_use(store: Store, volume_id: str) -> None:
    """Store that the volume is used as a raw device, so that no node formats it: for a writable connection that `connect` has not made. Does
    nothing for a volume that nodes do not format anyway, or that is not known.
    """
    with contextlib.suppress(NotFound):
        volume = store.get(Volume, volume_id)
        if volume.blank or (volume.began_empty and not volume.raw):
            change(store, volume, lambda current: _given_out(current, raw=True))


def _given_out(volume: Volume, *, raw: bool) -> Volume:
    """Without the "never formatted" mark. Raises if another program owns the record: nothing changes it."""
    if volume.status in FOREIGN:
        lookup.check_whole(volume)  # refuses it
    empty = volume.began_empty or volume.blank  # records of earlier versions have the mark only
    return replace(
        volume, began_empty=empty, blank=False, mark_void=volume.mark_void or not volume.blank, raw=volume.raw or raw
    )


class Attachments:
    """Creates and deletes the attachments on one back end."""

    def __init__(self, ledger: Ledger, driver: Driver, room: Room) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.driver = driver
        self.room = room

    # --- creation

    def connect(self, volume: Volume, attachment: Attachment, check: Check) -> Attachment:
        """Make the volume accessible to the node. Returns an existing attachment, or resumes an unfinished one.

        The "never formatted" mark of the volume moves to its first writable attachment. It is removed from the volume before
        it is set on the attachment, so a crash in between can lose the mark but never give it to two nodes.
        """
        known = lookup.find(self.store, Attachment, attachment.id)
        if known is not None and known.status is Status.AVAILABLE:
            return known
        self.room.check()
        self.driver.validate_connector(attachment.connector)
        record = self._begin(volume, attachment) if known is None else self._resume(known, attachment)
        faultpoints.reach("publish.record-written")
        try:
            volume, attachments = self._checked(record, check)
        except DriverError as error:
            if known is None:
                self._forget(record)
            else:  # an earlier attempt may have created a mapping
                self.ledger.give_back(record, known.status, str(error))
            raise
        return self._connect(volume, record, attachments)

    def _begin(self, volume: Volume, attachment: Attachment) -> Attachment:
        blank = not attachment.read_only and self._take_mark(volume, attachment)
        created_at = attachment.created_at or self.ledger.now()
        begun = {"status": Status.CREATING, "owner": self.ledger.owner, "blank": blank, "created_at": created_at}
        return self.store.add(replace(attachment, **begun))  # type: ignore[arg-type]  # values by name

    def _resume(self, known: Attachment, attachment: Attachment) -> Attachment:
        # After an interrupted disconnection the node may have used the device, so it is no longer blank.
        blank = known.blank and known.status is not Status.DELETING
        return self.ledger.intend(
            known, Status.CREATING, connector=attachment.connector, read_only=attachment.read_only, blank=blank
        )

    def _take_mark(self, volume: Volume, attachment: Attachment) -> bool:
        """Remove the "never formatted" mark from the volume and return whether it was set. Only one of several processes gets it.

        An attachment as a raw device also sets `raw` on the volume, because its content is unknown from then on.
        """
        was_there = False

        def take(current: Volume) -> Volume:
            nonlocal was_there
            was_there = current.blank
            # Users cannot reach the header of an encrypted volume, except by asking for its ciphertext.
            return _given_out(current, raw=attachment.block and (attachment.ciphertext or not current.encryption))

        change(self.store, volume, take)
        return was_there

    def _checked(self, record: Attachment, check: Check) -> tuple[Volume, tuple[Attachment, ...]]:
        """Return the volume and all its attachments. Call it after this attachment is stored. Raises if it conflicts with others.

        When two processes attach the volume, or one of them deletes or reverts it, at least one sees the record of the other.
        """
        volume = self.store.get(Volume, record.volume_id)
        lookup.check_whole(volume)
        modifications.check_attachable(volume)
        if volume.owner and volume.status is Status.AVAILABLE and reverts.is_running(self.ledger, volume):
            raise OperationPending(f"volume {volume.id!r} is being processed by {volume.owner!r} ({volume.message})")
        attachments = self.ledger.attachments(volume.id)
        others = _others(record, attachments)
        for other in others:
            if other.status is Status.DELETING:  # else that process might remove the new export
                self.ledger.check_free(other)
        check(others)
        return volume, attachments

    def _connect(self, volume: Volume, record: Attachment, attachments: tuple[Attachment, ...]) -> Attachment:
        try:
            volume = self._export(volume, record, attachments)
            info = self.driver.initialize_connection(volume, record, attachments)
            self._end_adoption(volume)
        except DriverError as error:
            self._undo(record, error)
            raise
        faultpoints.reach("publish.connected")

        def finished(current: Attachment) -> Attachment:
            self.ledger.check_own(current, Status.CREATING)
            return replace(current, status=Status.AVAILABLE, connection_info=info, owner="", message="")

        try:
            return change(self.store, record, finished)
        except (NotFound, StaleRecord) as error:
            self._undo(record, error)
            raise StaleRecord("attachment", record.id) from error
        except DriverError as error:  # if only the acknowledgement was lost, the node may use the mapping already
            message = f"connected, but the result could not be stored: {error}"
            self.ledger.give_back(record, Status.ERROR, message, owner=record.owner)
            raise

    def _end_adoption(self, volume: Volume) -> None:
        """Store that the volume can no longer be returned, before a node gets access: a file system may replay its journal even if it is
        mounted for reading. A failed attachment changes nothing.
        """
        if volume.adoption:
            change(self.store, volume, lambda current: replace(current, adoption=""))

    def _export(self, volume: Volume, record: Attachment, attachments: tuple[Attachment, ...]) -> Volume:
        """Store the export before the node gets access: its removal needs this data."""
        exported = self.driver.create_export(volume, record, attachments)
        volume = change(self.store, exported.volume, lambda current: update_volume(current, exported.columns))
        faultpoints.reach("publish.exported")
        return volume

    def _undo(self, record: Attachment, error: DriverError) -> None:
        """Remove the mapping and the record of a failed connection. The export is kept while other attachments use it."""
        if self.ledger.is_taken_over(record):
            return
        try:
            volume = self.store.get(Volume, record.volume_id)
            attachments = self.ledger.attachments(record.volume_id)  # others may have been added during the driver call
            if not _shares_connection(record, attachments):
                volume = self.driver.terminate_connection(volume, record, attachments, forced=None).volume
            attachments = self.ledger.attachments(record.volume_id)
            if not _others(record, attachments):
                self.driver.remove_export(volume, attachments)
        except DriverError as second:
            self.ledger.give_back(
                record, Status.ERROR, f"{error}; clean-up failed as well: {second}", owner=record.owner
            )
            return
        self._forget(record)

    def _forget(self, record: Attachment) -> None:
        """Remove the record of an attachment that was never returned to the caller, and give the mark back to the volume.

        No node has seen the device. The mark is not given back if another process removed the record, because a node may have
        formatted the volume since, or if there was another writable attachment, even one that no longer exists.
        """
        if self.ledger.remove(record) and record.blank:
            with contextlib.suppress(NotFound):
                change(self.store, self.store.get(Volume, record.volume_id), _marked_again)

    # --- deletion

    def disconnect(self, attachment: Attachment) -> None:
        """Fence the node: when this returns, it has no access to the volume on the back end.

        If the same host has another attachment of the volume, the mapping is kept until the last one is removed.

        Raises:
            CorruptRecord: another attachment of the volume cannot be read, so it is not known what it needs.
        """
        answered = attachment.status not in UNFINISHED
        try:
            record = self.ledger.intend(attachment, Status.DELETING)
            volume = self.store.get(Volume, record.volume_id)
        except NotFound:
            return
        faultpoints.reach("unpublish.record-written")
        try:
            released = self._terminate(volume, record)
            faultpoints.reach("unpublish.terminated")
            # List again: another node may have been attached during the driver call.
            attachments = self.ledger.attachments(volume.id)
            if not (released.export_is_needed or _others(record, attachments)):
                self._remove_export(released.volume, attachments)
        except DriverError as error:
            self.ledger.note(record, Status.DELETING, str(error))
            raise
        if answered:
            self.ledger.remove(record)
        else:
            self._forget(record)

    def _terminate(self, volume: Volume, record: Attachment) -> Released:
        attachments = self.ledger.attachments(volume.id)
        if not record.connector or _shares_connection(record, attachments):
            return Released(export_is_needed=False, volume=volume)
        return self.driver.terminate_connection(volume, record, attachments)

    def _remove_export(self, volume: Volume, attachments: tuple[Attachment, ...]) -> None:
        """Remove the export. A failure is only logged, as in Cinder: the node is fenced already, and deletion removes the export.

        Raises:
            BackendUnavailable: the driver did not respond; its process may have ended.
        """
        try:
            self.driver.remove_export(volume, attachments)
        except BackendUnavailable:
            raise
        except DriverError as error:
            _log.warning("export removal failed", volume=volume.id, backend=self.driver.name, reason=str(error))


def _marked_again(volume: Volume) -> Volume:
    return volume if volume.mark_void else replace(volume, blank=True, raw=False)


def _shares_connection(record: Attachment, attachments: tuple[Attachment, ...]) -> bool:
    """Whether another attachment uses the mapping of the same host. Cinder's drivers apply the same rule.

    A host that shares only the name is a different host and must be fenced.
    """
    others = _others(record, attachments)
    return any(other.status is not Status.DELETING and _host(other) == _host(record) for other in others)


def _others(record: Attachment, attachments: tuple[Attachment, ...]) -> list[Attachment]:
    return [other for other in attachments if other.id != record.id]


def _host(attachment: Attachment) -> tuple[object, ...]:
    return tuple(attachment.connector.get(name) for name in ("host", "initiator", "nqn", "wwpns"))
