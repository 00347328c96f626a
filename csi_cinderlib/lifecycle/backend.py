"""A back end: operations on its volumes, snapshots and attachments, independent of where its driver runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial

from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend.stats import (
    BackendCapabilities,
    BackendStats,
    Candidate,
    DriverTraits,
    RatedStats,
    capabilities,
)
from csi_cinderlib.backend.verbs import Driver
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, DriverError, InUse, Unsupported
from csi_cinderlib.lifecycle import modifications, reports, reverts
from csi_cinderlib.lifecycle.attachments import Attachments, Check, any_number
from csi_cinderlib.lifecycle.groups import GroupSnapshots
from csi_cinderlib.lifecycle.imports import Imports
from csi_cinderlib.lifecycle.intake import Intake
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.places import Places
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.lifecycle.snapshots import Snapshots
from csi_cinderlib.lifecycle.volumes import Volumes
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.persistence.api import Store

_log = logs.logger(__name__)
NO_TYPES: Mapping[str, VolumeType] = {}


def no_other_process(_owner: str) -> bool:
    return False


class Backend:
    """A back end. Thread-safe; callers hold the lock of the volume or snapshot.

    Each operation stores its intent, calls the driver, and stores the result. After a crash the record shows the interrupted
    operation, and the same call (or `resume_...`) finishes or undoes it.

    Args:
        volume_types: named types; a record whose type has only a name gets the specs of that type.
        owner: name of this process in records of operations in progress.
        is_alive: whether another owner is still running; by default all unfinished operations of other owners are taken over.
    """

    def __init__(  # keyword-only: the choices of the caller that builds a back end
        self,
        settings: BackendSettings,
        driver: Driver,
        *,
        store: Store,
        room: Room,
        owner: str,
        volume_types: Mapping[str, VolumeType] = NO_TYPES,
        clock: Callable[[], datetime] = times.utc_now,
        is_alive: Callable[[str], bool] = no_other_process,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.verbs = driver
        self.intake = Intake(settings.name, paused=settings.paused, drained=settings.drained)
        self._store = store
        self._room = room
        self._types = volume_types
        self._traits: DriverTraits | None = None
        self._starting = threading.Lock()
        self._ledger = Ledger(settings.name, store, owner=owner, clock=clock, is_alive=is_alive)
        self._reports = reports.Reports(
            driver, store, seconds=settings.stats_seconds, pools=lambda: self.settings.pools
        )
        self._places = Places(self.name, store, self.stats)
        self._volumes = Volumes(self._ledger, driver, room, self._ready)
        self._snapshots = Snapshots(self._ledger, driver, room, self._ready)
        self._attachments = Attachments(self._ledger, driver, room)
        self._groups = GroupSnapshots(self._ledger, driver, room)
        self._imports = Imports(self._ledger, driver, room, self._ready)

    # --- start and state

    @property
    def ready(self) -> bool:
        return self.verbs.ready

    @property
    def failure(self) -> str:
        """Why the back end is not ready, without secrets."""
        return self.verbs.failure

    @failure.setter
    def failure(self, reason: str) -> None:
        self.verbs.failure = reason

    @property
    def problem(self) -> str:
        """Why the back end is not ready, or why its last report failed; "" otherwise. Does not call the driver."""
        if not self.ready:
            return self.failure
        failure = self._reports.failure
        return redact.of_backend(failure, secret_values.of_options(self.settings)) if failure else ""

    @property
    def remark(self) -> str:
        """A remark for operators about a ready back end; usually ""."""
        missing = ", ".join(self._reports.missing_pools)
        return f"pools: the driver does not report {missing}" if missing else ""

    def start(self) -> None:
        """Set up the driver. Does nothing if the back end is ready.

        Raises:
            ConfigurationError: the driver, an option or a library is invalid or missing.
            BackendUnavailable: the storage does not respond; retry later.
            HostError: this host cannot start the driver now, for example because its disk is full; retry later.
        """
        with self._starting:
            question = self._reports.question()
            started = self.verbs.start()
            if started is not None:
                self._traits = started.traits
                self._reports.take(started.report, question)
                self._room.fill()

    def stop(self) -> None:
        """Stop the driver. Volumes and connections are not changed."""
        self.verbs.stop()

    def apply(self, settings: BackendSettings) -> None:
        """Apply settings that differ only in fields of which the driver does not know."""
        self.settings = settings
        self.intake.set(paused=settings.paused, drained=settings.drained)

    @property
    def protocol(self) -> str:
        """`storage_protocol` of the last report; "" before the first one. Does not call the driver."""
        report = self._reports.left
        return report.protocol if report else ""

    @property
    def capabilities(self) -> BackendCapabilities:
        """Raises BackendUnavailable if the back end is not started."""
        return capabilities(self._ready(), self._reports.last)

    def _ready(self) -> DriverTraits:
        """Raises BackendUnavailable."""
        if self.ready and self._traits is None:
            with self._starting:  # wait until start() has stored the traits
                pass
        if not self.ready or self._traits is None:
            raise BackendUnavailable(self.name, self.failure)
        return self._traits

    def stats(self, *, refresh: bool = False, within: float | None = None) -> BackendStats:
        """The driver's report, at most `stats_seconds` old, less the capacity allocated since.

        Args:
            within: seconds to wait for a new report of a driver in another process; then raises BackendUnavailable.
        """
        return self._reports.stats(refresh=refresh, patience=within, insists=within is not None)

    @property
    def known_stats(self) -> BackendStats | None:
        """The last report, of any age, without requesting a new one."""
        return self._reports.left

    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        """Request the report, and the results of the filter and goodness functions for the candidate.

        Returns a function that waits for the answer, at most for the given number of seconds.
        """
        self._reports.ask()
        return partial(self._reports.rated, candidate)

    def _admitted(self, *, creates: bool = False, releases: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002
        """Held during a call. Raises BackendBusy at the limit of concurrent calls."""
        return nullcontext()

    @contextmanager
    def _provisioning(self, *, creates: bool = False, releases: bool = False) -> Iterator[None]:
        """As `_admitted`, for all calls but those that attach and detach. Raises BackendUnavailable while paused."""
        with self.intake.work(), self._admitted(creates=creates, releases=releases):
            yield

    # --- volumes

    def create_volume(self, record: Volume) -> Volume:
        """Create the volume of the record: empty, from a snapshot, or as a clone, according to `record.source`.

        Raises:
            AlreadyExists: the id is in use; call `resume_create_volume` if that record is CREATING.
            ResourceExhausted, Unsupported, InvalidRequest, BackendError: neither volume nor record is left. If the clean-up failed
                as well, the record is kept in ERROR.
            BackendUnavailable: the record is kept in ERROR, because the back end may still create the volume; or the back end is paused,
                and nothing was changed, as in the other operations that provision.
        """
        with self.intake.arrival(), self._admitted(creates=True):
            traits = self._ready()
            created = self._volumes.create(self._places.of_new(self._typed(record), traits.host))
        self._reports.taken(created.pool, created.size)
        return created

    def resume_create_volume(self, record: Volume) -> Volume:
        """Finish the creation of a record that is CREATING or ERROR. Returns an AVAILABLE record unchanged."""
        with self._provisioning(creates=True):
            self._ready()
            created = self._volumes.resume(record)
        if created is not record:
            self._reports.taken(created.pool, created.size)
        return created

    def delete_volume(self, record: Volume, *, has_no_snapshots: bool = False) -> None:
        """Delete a volume in any state, even after an interrupted deletion. Idempotent.

        Args:
            has_no_snapshots: refuse a volume with snapshots, even if they do not depend on it.

        Raises:
            InUse: the volume is attached or being copied, has snapshots that depend on it or are unfinished, or the back end
                reports dependents.
            CorruptRecord: one of its attachments cannot be read; the volume is not changed.
        """
        with self._provisioning(releases=True), self._room.released_if_full():
            if record.status is not Status.DELETED:
                self._ready()
            was_there = self._volumes.delete(record, has_no_snapshots=has_no_snapshots)
        if was_there and reports.is_counted(record):
            self._reports.taken(record.pool, -record.size)

    def extend_volume(self, record: Volume, size: GiB) -> Volume:
        """Extend a volume. Also finishes an interrupted extension.

        Raises:
            InUse: the volume is attached, and this back end cannot extend attached volumes.
        """
        with self._provisioning(creates=True):
            self._ready()
            if size > record.size and not self.capabilities.online_extend and self.attachments(record.id):
                raise InUse(
                    f"volume {record.id!r} is attached, and back end {self.name!r} can extend only detached volumes"
                )
            grown = self._volumes.extend(record, size)
        self._reports.taken(grown.pool, grown.size - record.size)
        return grown

    def revert_volume(self, record: Volume, snapshot: Snapshot) -> Volume:
        """Revert a detached volume to one of its snapshots.

        Raises:
            Unsupported: the driver cannot revert volumes.
        """
        with self._provisioning():
            if not self.capabilities.revert:
                raise Unsupported(f"back end {self.name!r} cannot revert a volume to a snapshot")
            return reverts.revert(self._ledger, self.verbs, self._room, record, snapshot)

    @property
    def may_retype(self) -> bool:
        """Whether the driver can modify volumes in place; True until it has been started."""
        return self._traits is None or self._traits.retypes.anything

    def modify_volume(self, record: Volume, wanted: VolumeType | None, mutable_parameters: Mapping[str, str]) -> Volume:
        """Give a volume, attached or not, another type in place. Also finishes an interrupted modification, or goes back.

        Raises:
            Unsupported, InvalidRequest: the driver cannot modify volumes, or not in this way; nothing is changed.
            InUse: the driver modifies only detached volumes in this way; nothing is changed.
            DriverError: what was changed is unknown; the intent stays on the record.
        """
        with self._provisioning(creates=True):
            return modifications.modify(self._modifying(), record, wanted, mutable_parameters)

    def settle_modification(self, record: Volume) -> Volume:
        """Finish an unfinished modification, or undo it. Raises as `modify_volume`."""
        with self._provisioning():
            return modifications.settle(self._modifying(), record)

    def _modifying(self) -> modifications.Calls:
        return modifications.Calls(self._ledger, self.verbs, self._room, self._ready().retypes)

    # --- snapshots

    def create_snapshot(self, record: Snapshot) -> Snapshot:
        """Take a snapshot, including one of an attached volume. Raises the errors of `create_volume`."""
        with self._provisioning(creates=True):
            if not self.capabilities.snapshot_attached and self.attachments(record.volume_id):
                raise InUse(
                    f"volume {record.volume_id!r} is attached, and back end {self.name!r} can snapshot only detached volumes"
                )
            return self._snapshots.create(record)

    def resume_create_snapshot(self, record: Snapshot) -> Snapshot:
        with self._provisioning(creates=True):
            self._ready()
            return self._snapshots.resume(record)

    def delete_snapshot(self, record: Snapshot) -> None:
        """Delete a snapshot in any state. Raises InUse if volumes depend on it."""
        with self._provisioning(releases=True), self._room.released_if_full():
            self._ready()
            self._snapshots.delete(record)

    # --- consistent group snapshots

    def create_group_snapshot(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
        """Take a consistent snapshot of several volumes; `members` has one snapshot record for each volume.

        Raises:
            Unsupported: this back end does not support consistent group snapshots.
        """
        with self._provisioning(creates=True):
            if not self.capabilities.consistent_group_snapshots:
                raise Unsupported(f"back end {self.name!r} does not support consistent group snapshots")
            return self._groups.create(record, members)

    def resume_create_group_snapshot(self, record: GroupSnapshot) -> GroupSnapshot:
        """See `resume_create_volume`. Raises NotFound if not all member records were stored; create it again then."""
        with self._provisioning(creates=True):
            self._ready()
            return self._groups.resume(record)

    def delete_group_snapshot(self, record: GroupSnapshot) -> None:
        """Delete a group snapshot and its members, in any state."""
        with self._provisioning(releases=True), self._room.released_if_full():
            self._ready()
            self._groups.delete(record)

    # --- existing objects

    @contextmanager
    def importing(self) -> Iterator[Imports]:
        """The imports of this back end, as one call. A new volume needs `intake.arrival` as well. Raises BackendBusy."""
        with self._provisioning(creates=True):
            yield self._imports

    def place_import(self, record: Volume) -> Volume:
        """The record with its pool, which must be named unless there is only one. Raises InvalidRequest."""
        return self._places.of_import(self._typed(record), self._ready().host)

    # --- connections

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        """Raises InvalidRequest if a node with these connector properties cannot reach this back end."""
        with self._admitted():
            self._ready()
            self.verbs.validate_connector(connector)

    def connect(self, volume: Volume, attachment: Attachment, *, check: Check = any_number) -> Attachment:
        """Make the volume accessible to the node. Returns an existing attachment, or resumes an unfinished one.

        Args:
            check: called with the other attachments of the volume after this one is stored and before the node gets access. If
                it raises, the attachment is undone.
        """
        with self._admitted():
            self._export_again(volume.id)
            return self._attachments.connect(volume, attachment, check)

    def disconnect(self, attachment: Attachment) -> None:
        """Fence the node. The last attachment also removes the export. Idempotent."""
        with self._admitted(releases=True), self._room.released_if_full():
            self._ready()
            try:
                self._export_again(attachment.volume_id)
            except DriverError as error:
                _log.warning(
                    "volume export failed before detach",
                    volume=attachment.volume_id,
                    backend=self.name,
                    reason=str(error),
                )
            self._attachments.disconnect(attachment)

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord if one cannot be read."""
        return self._ledger.attachments(volume_id)

    def _export_again(self, volume_id: str) -> None:
        """Export a volume that was attached before the start, ahead of the exports at start. Raises DriverError."""
        if self._ready().exports_at_start:
            self.verbs.export_again(volume_id)

    def _typed(self, record: Volume) -> Volume:
        kind = record.type
        if kind is None or kind.extra_specs or kind.qos_specs or kind.name not in self._types:
            return record
        return replace(record, type=self._types[kind.name])
