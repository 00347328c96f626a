"""One back end: a Cinder driver, set up, and the life of volumes on it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from csi_cinderlib.backend import (
    connections,
    convert,
    exports,
    groups,
    loading,
    ratings,
    reports,
    reverts,
    snapshots,
    volumes,
)
from csi_cinderlib.backend.api import NOT_STARTED, Check, anybody
from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, Candidate, Pool, RatedStats
from csi_cinderlib.backend.work import routed
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError, InUse, ResourceExhausted, Unsupported
from csi_cinderlib.host import kernel
from csi_cinderlib.model import times
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, SourceKind, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import redact
from csi_cinderlib.observe.unmeasured import Meter
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store

_log = logging.getLogger(__name__)
_NO_TYPES: Mapping[str, VolumeType] = {}


def _nobody_else(_owner: str) -> bool:
    return False


class Backend:
    """A back end. Thread-safe; whoever calls holds the lock of the volume or snapshot concerned.

    Every operation writes its intent into the store, calls the driver, and writes the result. After a crash the record tells
    what was going on, and the same call (or `resume_...`) finishes or undoes it.

    Args:
        volume_types: named types; a record whose type has a name only gets that type's specs.
        owner: the name of this process in records under way.
        is_alive: tells whether another owner still works; the default takes over whatever others left unfinished.
        meter: times each call into the driver.
        check_lease: called before each call into the driver; raises LeaseLost when this process must not act any more.
        ensure_exports: after each start, export again what is attached, as Cinder's volume manager does; `wait_for_exports`
            tells when. For a process that lives for one call only, that is too much.
    """

    def __init__(  # noqa: PLR0913  # keyword-only: one for each thing that whoever builds a back end decides
        self,
        settings: BackendSettings,
        *,
        store: Store,
        runtime: Runtime,
        volume_types: Mapping[str, VolumeType] = _NO_TYPES,
        owner: str = "",
        clock: Callable[[], datetime] = times.utc_now,
        is_alive: Callable[[str], bool] = _nobody_else,
        meter: Meter | None = None,
        check_lease: Callable[[], None] = lease.unshared,
        ensure_exports: bool = True,
    ) -> None:
        self.settings = settings
        self._ensure_exports = ensure_exports
        self._exports: exports.Exports | None = None
        self.name = settings.name
        self.failure = NOT_STARTED
        self._types = volume_types
        self._runtime = runtime
        self._store = store
        self._section = ""
        self._show_secrets: Callable[[], None] | None = None
        self._starting = threading.Lock()
        self._engine = Engine(
            settings,
            store=store,
            runtime=runtime,
            owner=owner or runtime.owner,
            clock=clock,
            is_alive=is_alive,
            meter=meter,
            check_lease=check_lease,
        )
        self._reports = reports.Reports(self._engine, time.monotonic)

    # --- being there

    @property
    def ready(self) -> bool:
        return self._engine.driver is not None

    @property
    def problem(self) -> str:
        """Why it is not ready, or had no report for those who asked last; "" when neither. Asks nothing of the driver."""
        if not self.ready:
            return self.failure
        return self.without_secrets(self._reports.failure) if self._reports.failure else ""

    @property
    def remark(self) -> str:
        return ""

    @property
    def driver(self) -> object:
        """The Cinder driver itself, for the library's users. Raises BackendUnavailable."""
        driver: object = self._engine.ready_driver()
        return driver

    def start(self) -> None:
        """Load and set up the driver, and begin to export again what is attached. Does nothing when ready.

        Raises:
            ConfigurationError: the driver, an option or a library is wrong or missing.
            BackendUnavailable: the storage does not answer; start again later.
            HostError: this host cannot start it now, its disk being full, say; start again later.
        """
        with self._starting:
            if self.ready:
                return
            if self._show_secrets is None:
                self._show_secrets = redact.hide_in_process(redact.secrets_in(self.settings.options))
            try:
                with routed(self._engine.route), kernel.named(f"starting back end {self.name}"):
                    self._start()
            except BaseException as error:
                if isinstance(error, DriverError):
                    self.failure = self.without_secrets(error)
                self._forget()
                raise
            self.failure = ""

    def without_secrets(self, error: DriverError) -> str:
        """What an error says, fit to be shown: drivers quote what they were given."""
        with redact.hiding(redact.secrets_in(self.settings.options)):
            return redact.text(error.message if isinstance(error, BackendError) else str(error))

    def _start(self) -> None:
        engine = self._engine
        engine.check_lease()
        self._runtime.start()
        self._section = self._runtime.add_section(self.settings)
        self._runtime.routes.add(engine.route)
        engine.context = convert.admin_context()
        is_empty = not self._store.page(Volume, limit=1, where={"backend": self.name}).records
        driver = loading.construct(self.settings, self._runtime, self._section, is_empty=is_empty)
        own_limit = loading.calls_at_a_time(driver)
        calls = self.settings.max_concurrent_calls or own_limit
        engine.limit(calls, extra=0 if calls == own_limit else 1)
        loading.set_up(self.settings, driver, engine.context, engine.work())
        # Before the first call is served, which may concern a volume that is to be exported again.
        self._exports = exports.Exports(engine, driver) if self._exports_at_start(driver) else None
        engine.driver = driver
        try:
            if loading.overrides(driver, "update_provider_info"):  # a driver that keeps track of ids may correct them
                reports.update_provider_info(engine)
            ratings.check(self.name, self._reports.stats(refresh=True))
        except BaseException:
            engine.driver = self._exports = None
            raise
        if self._exports is not None:
            self._exports.start()

    def _exports_at_start(self, driver: object) -> bool:
        return self._ensure_exports and loading.exports_at_start(driver)

    def wait_for_exports(self) -> None:
        """Wait until everything that is attached was exported again since the start, or failed to be."""
        exporting = self._exports
        if exporting is not None:
            exporting.wait()

    def leave_exports(self) -> None:
        """Another process, which starts now, exports again what is attached."""
        exporting = self._exports
        if exporting is not None:
            exporting.end_walk()

    def stop(self) -> None:
        """Forget the driver, and end the looping calls that it runs in the background. Its volumes and connections stay as they are."""
        with self._starting:
            self._engine.driver = None
            if self._exports is not None:
                self._exports.stop()
                self._exports = None
            self.failure = "stopped"
            self._forget()
            if self._show_secrets is not None:
                self._show_secrets()
                self._show_secrets = None

    def _forget(self) -> None:
        self._runtime.routes.remove(self._engine.route)
        self._engine.route.loops.stop(self.name)
        if self._section:
            self._runtime.remove_section(self._section)
            self._section = ""

    @property
    def capabilities(self) -> BackendCapabilities:
        """Raises BackendUnavailable before the start."""
        return self._reports.capabilities()

    def stats(self, *, refresh: bool = False) -> BackendStats:
        """The driver's report, at most `stats_seconds` old, less what was created since."""
        return self._reports.stats(refresh=refresh)

    def rated_stats(self, candidate: Candidate) -> RatedStats:
        """The report, and what the filter and goodness functions of its pools say of such a volume."""
        stats = self.stats()
        return stats, ratings.rate(self._engine.host, stats, candidate)

    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        """See `api.BackEnd`. Waits as long as the driver takes: who shares a process with it has to."""
        return lambda _seconds: self.rated_stats(candidate)

    # --- volumes

    def create_volume(self, record: Volume) -> Volume:
        """Create the volume that the record describes: new, from a snapshot, or as a clone, as `record.source` says.

        Raises:
            AlreadyExists: the id is taken; `resume_create_volume` if that record is CREATING.
            ResourceExhausted, Unsupported, InvalidRequest, BackendError: nothing is left, neither volume nor record, unless
                cleaning up failed, too: then the record is in ERROR.
            BackendUnavailable: the record is in ERROR, because the back end may still create the volume.
        """
        record = self._placed(self._typed(record))
        created = volumes.create(self._engine, record)
        self._reports.taken(created.pool, created.size)
        return created

    def resume_create_volume(self, record: Volume) -> Volume:
        """Finish the creation of a record that is CREATING or ERROR. One that is AVAILABLE is returned as it is."""
        created = volumes.resume(self._engine, record)
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
        with self._runtime.reserve.released_if_full():
            was_there = volumes.delete(self._engine, record)
        if was_there and reports.is_counted(record):
            self._reports.taken(record.pool, -record.size)

    def extend_volume(self, record: Volume, size: GiB) -> Volume:
        """Grow a volume; also finishes a growth that ended in the middle.

        Raises:
            InUse: it is attached, and this back end cannot grow attached volumes.
        """
        if size > record.size and not self.capabilities.online_extend and self.attachments(record.id):
            raise InUse(f"volume {record.id!r} is attached, and back end {self.name!r} grows only volumes that are not")
        grown = volumes.extend(self._engine, record, size)
        self._reports.taken(grown.pool, grown.size - record.size)
        return grown

    def revert_volume(self, record: Volume, snapshot: Snapshot) -> Volume:
        """Bring a volume that is not attached back to one of its snapshots.

        Raises:
            Unsupported: the driver cannot.
        """
        if not self.capabilities.revert:
            raise Unsupported(f"back end {self.name!r} cannot revert a volume to a snapshot")
        return reverts.revert(self._engine, record, snapshot)

    # --- snapshots

    def create_snapshot(self, record: Snapshot) -> Snapshot:
        """Take a snapshot, also of an attached volume. Errors as `create_volume`."""
        if not self.capabilities.snapshot_attached and self.attachments(record.volume_id):
            raise InUse(f"volume {record.volume_id!r} is attached, and back end {self.name!r} cannot snapshot it then")
        return snapshots.create(self._engine, record)

    def resume_create_snapshot(self, record: Snapshot) -> Snapshot:
        return snapshots.resume(self._engine, record)

    def delete_snapshot(self, record: Snapshot) -> None:
        """Delete a snapshot in any state. Raises InUse when volumes depend on it."""
        with self._runtime.reserve.released_if_full():
            snapshots.delete(self._engine, record)

    # --- snapshots of several volumes at one point in time

    def create_group_snapshot(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
        """Take snapshots of several volumes at one point in time; `members` are their records, one for each volume.

        Raises:
            Unsupported: this back end cannot promise one point in time.
        """
        if not self.capabilities.consistent_group_snapshots:
            raise Unsupported(f"back end {self.name!r} takes no snapshots of several volumes at one point in time")
        return groups.create(self._engine, record, members)

    def resume_create_group_snapshot(self, record: GroupSnapshot) -> GroupSnapshot:
        """As `resume_create_volume`. Raises NotFound when it died too early to know its members: create it anew then."""
        return groups.resume(self._engine, record)

    def delete_group_snapshot(self, record: GroupSnapshot) -> None:
        """Delete a group snapshot with all its members, in any state."""
        with self._runtime.reserve.released_if_full():
            groups.delete(self._engine, record)

    # --- connections

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        """Raises InvalidRequest when a node with these connector properties cannot reach this back end."""
        connections.validate(self._engine, connector)

    def connect(self, volume: Volume, attachment: Attachment, *, check: Check = anybody) -> Attachment:
        """Make the volume reachable from the attachment's node. The same attachment again is returned, or resumed.

        Args:
            check: called with the volume's other attachments once this one is visible to others, and before the node gets
                anything. What it raises undoes the attachment.
        """
        self._export(volume.id)
        return connections.connect(self._engine, volume, attachment, check)

    def disconnect(self, attachment: Attachment) -> None:
        """Fence the node off the volume; the export goes with the last attachment. Done already is fine."""
        with self._runtime.reserve.released_if_full():
            try:
                self._export(attachment.volume_id)
            except DriverError as error:
                _log.warning(
                    "volume %s is detached although it could not be exported again: %s", attachment.volume_id, error
                )
            connections.disconnect(self._engine, attachment)

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord when one cannot be read."""
        return self._engine.attachments(volume_id)

    # --- within

    def _export(self, volume_id: str) -> None:
        """Export the volume before its turn comes, if it is attached since before the start. Raises DriverError."""
        exporting = self._exports
        if exporting is not None:
            exporting.ensure(volume_id)

    def _typed(self, record: Volume) -> Volume:
        kind = record.type
        if kind is None or kind.extra_specs or kind.qos_specs or kind.name not in self._types:
            return record
        return replace(record, type=self._types[kind.name])

    def _placed(self, record: Volume) -> Volume:
        """A volume with a source goes where the source is, others where the record says, else where most is free."""
        if record.host:
            return record
        pool = record.pool or self._pool_of_source(record) or self._roomiest(record).name
        return replace(record, backend=self.name, pool=pool, host=f"{self._engine.host}#{pool}")

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
        best = max(pools, key=lambda pool: reports.usable_free(pool, thin=thin), default=None)
        if best is None:
            raise BackendUnavailable(self.name, "it reports no pool")
        if reports.usable_free(best, thin=thin) < record.size:
            raise ResourceExhausted(f"no pool of back end {self.name!r} has {record.size} GiB free")
        return best
