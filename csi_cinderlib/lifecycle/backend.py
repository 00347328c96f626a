"""One back end: the life of the volumes, snapshots and attachments on it, wherever its driver runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial

from csi_cinderlib.backend.stats import (
    BackendCapabilities,
    BackendStats,
    Candidate,
    DriverTraits,
    Pool,
    RatedStats,
    capabilities,
    usable_free,
)
from csi_cinderlib.backend.verbs import Driver
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, DriverError, InUse, ResourceExhausted, Unsupported
from csi_cinderlib.lifecycle import reports, reverts
from csi_cinderlib.lifecycle.attachments import Attachments, Check, anybody
from csi_cinderlib.lifecycle.groups import GroupSnapshots
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.lifecycle.snapshots import Snapshots
from csi_cinderlib.lifecycle.volumes import Volumes
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, SourceKind, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.api import Store

_log = logging.getLogger(__name__)
NO_TYPES: Mapping[str, VolumeType] = {}


def nobody_else(_owner: str) -> bool:
    return False


class Backend:
    """A back end. Thread-safe; whoever calls holds the lock of the volume or snapshot concerned.

    Every operation writes its intent into the store, calls the driver, and writes the result. After a crash the record tells
    what was going on, and the same call (or `resume_...`) finishes or undoes it.

    Args:
        volume_types: named types; a record whose type has a name only gets that type's specs.
        owner: the name of this process in records under way.
        is_alive: tells whether another owner still works; the default takes over whatever others left unfinished.
    """

    def __init__(  # keyword-only: one for each thing that whoever builds a back end decides
        self,
        settings: BackendSettings,
        driver: Driver,
        *,
        store: Store,
        room: Room,
        owner: str,
        volume_types: Mapping[str, VolumeType] = NO_TYPES,
        clock: Callable[[], datetime] = times.utc_now,
        is_alive: Callable[[str], bool] = nobody_else,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.verbs = driver
        self._store = store
        self._room = room
        self._types = volume_types
        self._traits: DriverTraits | None = None
        self._starting = threading.Lock()
        self._ledger = Ledger(settings.name, store, owner=owner, clock=clock, is_alive=is_alive)
        self._reports = reports.Reports(driver, store, seconds=settings.stats_seconds)
        self._volumes = Volumes(self._ledger, driver, room, self._ready)
        self._snapshots = Snapshots(self._ledger, driver, room, self._ready)
        self._attachments = Attachments(self._ledger, driver, room)
        self._groups = GroupSnapshots(self._ledger, driver, room)

    # --- being there

    @property
    def ready(self) -> bool:
        return self.verbs.ready

    @property
    def failure(self) -> str:
        """Why it is not ready, without secrets."""
        return self.verbs.failure

    @failure.setter
    def failure(self, reason: str) -> None:
        self.verbs.failure = reason

    @property
    def problem(self) -> str:
        """Why it is not ready, or had no report for those who asked last; "" when neither. Asks nothing of the driver."""
        if not self.ready:
            return self.failure
        failure = self._reports.failure
        return redact.of_backend(failure, self.settings.options) if failure else ""

    @property
    def remark(self) -> str:
        """What people should know about it although it is ready; "" mostly."""
        return ""

    def start(self) -> None:
        """Set the driver up. Does nothing when ready.

        Raises:
            ConfigurationError: the driver, an option or a library is wrong or missing.
            BackendUnavailable: the storage does not answer; start again later.
            HostError: this host cannot start it now, its disk being full, say; start again later.
        """
        with self._starting:
            question = self._reports.question()
            started = self.verbs.start()
            if started is not None:
                self._traits = started.traits
                self._reports.take(started.report, question)
                self._room.fill()

    def stop(self) -> None:
        """Forget the driver. Its volumes and connections stay as they are."""
        self.verbs.stop()

    @property
    def protocol(self) -> str:
        """`storage_protocol` of the driver's last report; "" before the first one. Asks nothing of the driver."""
        report = self._reports.left
        return report.protocol if report else ""

    @property
    def capabilities(self) -> BackendCapabilities:
        """Raises BackendUnavailable before the start."""
        return capabilities(self._ready(), self._reports.last)

    def _ready(self) -> DriverTraits:
        """Raises BackendUnavailable."""
        if self.ready and self._traits is None:
            with self._starting:  # the driver is ready just now
                pass
        if not self.ready or self._traits is None:
            raise BackendUnavailable(self.name, self.failure)
        return self._traits

    def stats(self, *, refresh: bool = False, within: float | None = None) -> BackendStats:
        """The driver's report, at most `stats_seconds` old, less what was created since.

        Args:
            within: seconds for a driver of another process to give a new one, if it is due. Raises BackendUnavailable after that.
        """
        return self._reports.stats(refresh=refresh, patience=within, insists=within is not None)

    @property
    def known_stats(self) -> BackendStats | None:
        """The same, however old, without asking for one."""
        return self._reports.left

    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        """Ask for the report, and what the functions of its pools say of such a volume. What is returned waits for the answer, so many
        seconds at most."""
        self._reports.ask()
        return partial(self._reports.rated, candidate)

    def _admitted(self, *, creates: bool = False, releases: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002
        """Held while a call is under way. Raises BackendBusy when there are too many."""
        return nullcontext()

    # --- volumes

    def create_volume(self, record: Volume) -> Volume:
        """Create the volume that the record describes: new, from a snapshot, or as a clone, as `record.source` says.

        Raises:
            AlreadyExists: the id is taken; `resume_create_volume` if that record is CREATING.
            ResourceExhausted, Unsupported, InvalidRequest, BackendError: nothing is left, neither volume nor record, unless
                cleaning up failed, too: then the record is in ERROR.
            BackendUnavailable: the record is in ERROR, because the back end may still create the volume.
        """
        with self._admitted(creates=True):
            self._ready()
            created = self._volumes.create(self._placed(self._typed(record)))
        self._reports.taken(created.pool, created.size)
        return created

    def resume_create_volume(self, record: Volume) -> Volume:
        """Finish the creation of a record that is CREATING or ERROR. One that is AVAILABLE is returned as it is."""
        with self._admitted(creates=True):
            self._ready()
            created = self._volumes.resume(record)
        if created is not record:
            self._reports.taken(created.pool, created.size)
        return created

    def delete_volume(self, record: Volume) -> None:
        """Delete a volume in any state; again if it ended in the middle. Done already is fine.

        Raises:
            InUse: it is attached or being copied, it has snapshots that would not outlive it or are not finished, or the back
                end says that something depends on it.
            CorruptRecord: it has an attachment that cannot be read; the volume is left as it is.
        """
        with self._admitted(releases=True), self._room.released_if_full():
            if record.status is not Status.DELETED:
                self._ready()
            was_there = self._volumes.delete(record)
        if was_there and reports.is_counted(record):
            self._reports.taken(record.pool, -record.size)

    def extend_volume(self, record: Volume, size: GiB) -> Volume:
        """Grow a volume; also finishes a growth that ended in the middle.

        Raises:
            InUse: it is attached, and this back end cannot grow attached volumes.
        """
        with self._admitted(creates=True):
            self._ready()
            if size > record.size and not self.capabilities.online_extend and self.attachments(record.id):
                raise InUse(
                    f"volume {record.id!r} is attached, and back end {self.name!r} grows only volumes that are not"
                )
            grown = self._volumes.extend(record, size)
        self._reports.taken(grown.pool, grown.size - record.size)
        return grown

    def revert_volume(self, record: Volume, snapshot: Snapshot) -> Volume:
        """Bring a volume that is not attached back to one of its snapshots.

        Raises:
            Unsupported: the driver cannot.
        """
        with self._admitted():
            if not self.capabilities.revert:
                raise Unsupported(f"back end {self.name!r} cannot revert a volume to a snapshot")
            return reverts.revert(self._ledger, self.verbs, self._room, record, snapshot)

    # --- snapshots

    def create_snapshot(self, record: Snapshot) -> Snapshot:
        """Take a snapshot, also of an attached volume. Errors as `create_volume`."""
        with self._admitted(creates=True):
            if not self.capabilities.snapshot_attached and self.attachments(record.volume_id):
                raise InUse(
                    f"volume {record.volume_id!r} is attached, and back end {self.name!r} cannot snapshot it then"
                )
            return self._snapshots.create(record)

    def resume_create_snapshot(self, record: Snapshot) -> Snapshot:
        with self._admitted(creates=True):
            self._ready()
            return self._snapshots.resume(record)

    def delete_snapshot(self, record: Snapshot) -> None:
        """Delete a snapshot in any state. Raises InUse when volumes depend on it."""
        with self._admitted(releases=True), self._room.released_if_full():
            self._ready()
            self._snapshots.delete(record)

    # --- snapshots of several volumes at one point in time

    def create_group_snapshot(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
        """Take snapshots of several volumes at one point in time; `members` are their records, one for each volume.

        Raises:
            Unsupported: this back end cannot promise one point in time.
        """
        with self._admitted(creates=True):
            if not self.capabilities.consistent_group_snapshots:
                raise Unsupported(f"back end {self.name!r} takes no snapshots of several volumes at one point in time")
            return self._groups.create(record, members)

    def resume_create_group_snapshot(self, record: GroupSnapshot) -> GroupSnapshot:
        """As `resume_create_volume`. Raises NotFound when it died too early to know its members: create it anew then."""
        with self._admitted(creates=True):
            self._ready()
            return self._groups.resume(record)

    def delete_group_snapshot(self, record: GroupSnapshot) -> None:
        """Delete a group snapshot with all its members, in any state."""
        with self._admitted(releases=True), self._room.released_if_full():
            self._ready()
            self._groups.delete(record)

    # --- connections

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        """Raises InvalidRequest when a node with these connector properties cannot reach this back end."""
        with self._admitted():
            self._ready()
            self.verbs.validate_connector(connector)

    def connect(self, volume: Volume, attachment: Attachment, *, check: Check = anybody) -> Attachment:
        """Make the volume reachable from the attachment's node. The same attachment again is returned, or resumed.

        Args:
            check: called with the volume's other attachments once this one is visible to others, and before the node gets
                anything. What it raises undoes the attachment.
        """
        with self._admitted():
            self._export_again(volume.id)
            return self._attachments.connect(volume, attachment, check)

    def disconnect(self, attachment: Attachment) -> None:
        """Fence the node off the volume; the export goes with the last attachment. Done already is fine."""
        with self._admitted(releases=True), self._room.released_if_full():
            self._ready()
            try:
                self._export_again(attachment.volume_id)
            except DriverError as error:
                _log.warning(
                    "volume %s is detached although it could not be exported again: %s", attachment.volume_id, error
                )
            self._attachments.disconnect(attachment)

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord when one cannot be read."""
        return self._ledger.attachments(volume_id)

    # --- within

    def _export_again(self, volume_id: str) -> None:
        """Have the volume exported before its turn comes, if it is attached since before the start. Raises DriverError."""
        if self._ready().exports_at_start:
            self.verbs.export_again(volume_id)

    def _typed(self, record: Volume) -> Volume:
        kind = record.type
        if kind is None or kind.extra_specs or kind.qos_specs or kind.name not in self._types:
            return record
        return replace(record, type=self._types[kind.name])

    def _placed(self, record: Volume) -> Volume:
        """A volume with a source goes where the source is, others where the record says, else where most is free."""
        if record.host:
            return record
        host = self._ready().host
        pool = record.pool or self._pool_of_source(record) or self._roomiest(record).name
        return replace(record, backend=self.name, pool=pool, host=f"{host}#{pool}")

    def _pool_of_source(self, record: Volume) -> str:
        if record.source is None:
            return ""
        id = record.source.id
        if record.source.kind is SourceKind.SNAPSHOT:
            id = self._store.get(Snapshot, id).volume_id
        return self._store.get(Volume, id).pool

    def _roomiest(self, record: Volume) -> Pool:
        pools = self.stats().pools
        if len(pools) == 1:
            return pools[0]
        thin = reports.wants_thin(record.type)
        best = max(pools, key=lambda pool: usable_free(pool, thin=thin), default=None)
        if best is None:
            raise BackendUnavailable(self.name, "it reports no pool")
        if usable_free(best, thin=thin) < record.size:
            raise ResourceExhausted(f"no pool of back end {self.name!r} has {record.size} GiB free")
        return best
