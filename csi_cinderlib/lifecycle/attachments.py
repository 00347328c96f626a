"""Attachments: a volume exported to, and mapped for, one node, and the fence when it is taken away."""

from __future__ import annotations

import contextlib
import logging
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
from csi_cinderlib.lifecycle import lookup, reverts
from csi_cinderlib.lifecycle.ledger import UNFINISHED, Ledger
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.persistence.optimistic import change

Check = Callable[[Sequence[Attachment]], None]
"""Raises when the volume's other attachments exclude one more."""
_log = logging.getLogger(__name__)


def anybody(_others: Sequence[Attachment]) -> None:
    """No attachment excludes another."""


class Attachments:
    """The life of attachments on one back end."""

    def __init__(self, ledger: Ledger, driver: Driver, room: Room) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.driver = driver
        self.room = room

    # --- creation

    def connect(self, volume: Volume, attachment: Attachment, check: Check) -> Attachment:
        """Make the volume reachable for the attachment's node. The same attachment again returns, or is resumed.

        The volume's "never formatted" mark goes over to the first attachment that may write: it is taken off the volume
        before it is on the attachment, so that a crash in between can lose it but never give it to two nodes.
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
            else:  # what an earlier attempt made may be there
                self.ledger.give_back(record, known.status, str(error))
            raise
        return self._connect(volume, record, attachments)

    def _begin(self, volume: Volume, attachment: Attachment) -> Attachment:
        blank = not attachment.read_only and self._take_mark(volume, attachment)
        created_at = attachment.created_at or self.ledger.now()
        begun = {"status": Status.CREATING, "owner": self.ledger.owner, "blank": blank, "created_at": created_at}
        return self.store.add(replace(attachment, **begun))  # type: ignore[arg-type]  # values by name

    def _resume(self, known: Attachment, attachment: Attachment) -> Attachment:
        # After a disconnection that did not end, the node has seen the device: it is not new any more.
        blank = known.blank and known.status is not Status.DELETING
        return self.ledger.intend(
            known, Status.CREATING, connector=attachment.connector, read_only=attachment.read_only, blank=blank
        )

    def _take_mark(self, volume: Volume, attachment: Attachment) -> bool:
        """Take the "never formatted" mark off the volume; whether it was there. Of several processes at once, one gets it.

        A raw device that may be written to is noted on the volume besides: nobody here knows what is on it afterwards.
        """
        was_there = False

        def take(current: Volume) -> Volume:
            nonlocal was_there
            was_there = current.blank
            void = current.mark_void or not was_there
            return replace(current, blank=False, mark_void=void, raw=current.raw or attachment.block)

        change(self.store, volume, take)
        return was_there

    def _checked(self, record: Attachment, check: Check) -> tuple[Volume, tuple[Attachment, ...]]:
        """The volume and all its attachments, once this one is visible. Raises what speaks against it.

        Of two processes that attach to two nodes, or of which one deletes or reverts the volume, one sees the other.
        """
        volume = self.store.get(Volume, record.volume_id)
        lookup.check_whole(volume)
        if volume.owner and volume.status is Status.AVAILABLE and reverts.is_running(self.ledger, volume):
            raise OperationPending(f"{volume.owner!r} is at work on volume {volume.id!r} ({volume.message})")
        attachments = self.ledger.attachments(volume.id)
        others = _others(record, attachments)
        for other in others:
            if other.status is Status.DELETING:  # else that process might take away the export which is made now
                self.ledger.check_free(other)
        check(others)
        return volume, attachments

    def _connect(self, volume: Volume, record: Attachment, attachments: tuple[Attachment, ...]) -> Attachment:
        try:
            volume = self._export(volume, record, attachments)
            info = self.driver.initialize_connection(volume, record, attachments)
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

    def _export(self, volume: Volume, record: Attachment, attachments: tuple[Attachment, ...]) -> Volume:
        """Written down before the node is let in: whoever takes the export away needs it."""
        exported = self.driver.create_export(volume, record, attachments)
        volume = change(self.store, exported.volume, lambda one: update_volume(one, exported.columns))
        faultpoints.reach("publish.exported")
        return volume

    def _undo(self, record: Attachment, error: DriverError) -> None:
        """Leave no mapping and no record of a failed connection. The export stays while others are connected through it."""
        if self.ledger.is_taken_over(record):
            return
        try:
            volume = self.store.get(Volume, record.volume_id)
            attachments = self.ledger.attachments(record.volume_id)  # others may have come while the driver worked
            if not _shares_connection(record, attachments):
                volume = self.driver.terminate_connection(volume, record, attachments, forced=None).volume
            attachments = self.ledger.attachments(record.volume_id)
            if not _others(record, attachments):
                self.driver.remove_export(volume, attachments)
        except DriverError as second:
            self.ledger.give_back(
                record, Status.ERROR, f"{error}; cleaning up failed, too: {second}", owner=record.owner
            )
            return
        self._forget(record)

    def _forget(self, record: Attachment) -> None:
        """Remove a record that was never answered, so that no node has seen the device: the volume gets its mark back.

        From whoever removes the record, and from nobody else: since another process did, a node may have formatted the volume. Nor
        after another attachment that may write: its node may have written, even if it has the volume no more.
        """
        if self.ledger.remove(record) and record.blank:
            with contextlib.suppress(NotFound):
                change(self.store, self.store.get(Volume, record.volume_id), _marked_again)

    # --- deletion

    def disconnect(self, attachment: Attachment) -> None:
        """Take the volume away from the attachment's node: when this returns, the back end lets the node no longer in.

        Unless the same host has another attachment of the volume: the last one takes the mapping with it.

        Raises:
            CorruptRecord: another attachment of the volume cannot be read, so that nobody knows what it needs.
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
            # Counted once more: another node may have been given the volume while the driver worked.
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
        """Take the mapping away."""
        attachments = self.ledger.attachments(volume.id)
        if not record.connector or _shares_connection(record, attachments):
            return Released(export_is_needed=False, volume=volume)
        return self.driver.terminate_connection(volume, record, attachments)

    def _remove_export(self, volume: Volume, attachments: tuple[Attachment, ...]) -> None:
        """The node is locked out already. Cinder, too, only warns: deletion removes the export again.

        Raises:
            BackendUnavailable: there was no answer; perhaps the driver's process ended.
        """
        try:
            self.driver.remove_export(volume, attachments)
        except BackendUnavailable:
            raise
        except DriverError as error:
            _log.warning("volume %s stays exported on back end %s: %s", volume.id, self.driver.name, error)


def _marked_again(volume: Volume) -> Volume:
    return volume if volume.mark_void else replace(volume, blank=True, raw=False)


def _shares_connection(record: Attachment, attachments: tuple[Attachment, ...]) -> bool:
    """Whether another attachment of the volume needs what the back end made for this very host (so do Cinder's drivers ask).

    A host that has the name alone in common is another one, and must be locked out.
    """
    others = _others(record, attachments)
    return any(other.status is not Status.DELETING and _host(other) == _host(record) for other in others)


def _others(record: Attachment, attachments: tuple[Attachment, ...]) -> list[Attachment]:
    return [other for other in attachments if other.id != record.id]


def _host(attachment: Attachment) -> tuple[object, ...]:
    return tuple(attachment.connector.get(name) for name in ("host", "initiator", "nqn", "wwpns"))
