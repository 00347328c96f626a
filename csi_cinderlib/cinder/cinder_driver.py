"""A Cinder driver in this process: its lifecycle and its verbs (`verbs.Driver`)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend import stats as capacities
from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.backend.stats import BackendStats, Candidate, Rating
from csi_cinderlib.backend.verbs import (
    NOT_STARTED,
    Attachments,
    Columns,
    Exported,
    Outcome,
    Released,
    Report,
    Retyped,
    Started,
)
from csi_cinderlib.cinder import (
    conf,
    connection_calls,
    convert,
    existing_calls,
    exports,
    group_calls,
    loading,
    private_files,
    ratings,
    reached,
    retyping,
    snapshot_calls,
    volume_calls,
)
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.work import routed
from csi_cinderlib.config import former
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, DriverError
from csi_cinderlib.host import kernel
from csi_cinderlib.model.records import (
    FOREIGN,
    Attachment,
    Group,
    GroupSnapshot,
    Modification,
    Snapshot,
    Status,
    Volume,
)
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.observe.unmeasured import Meter
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk

_log = logs.logger(__name__)


class CinderDriver:
    """See `verbs.Driver`.

    Args:
        meter: measures each call into the driver.
        check_lease: called before each call into the driver; raises LeaseLost if this process may no longer act.
        ensure_exports: after each start, export attached volumes again, as Cinder's volume manager does; see `wait_for_exports`.
            Not worthwhile for a process that makes only one call.
    """

    def __init__(
        self,
        settings: BackendSettings,
        *,
        store: Store,
        runtime: Runtime,
        meter: Meter | None = None,
        check_lease: Callable[[], None] = lease.unshared,
        ensure_exports: bool = True,
    ) -> None:
        settings, notes = former.translate(settings)
        for note in notes:
            _log.warning("former name used", reason=note)
        self.settings = settings
        self.name = settings.name
        self.failure = NOT_STARTED
        self._ensure_exports = ensure_exports
        self._exports: exports.Exports | None = None
        self._runtime = runtime
        self._store = store
        self._section = ""
        self._files = private_files.PrivateFiles(settings)
        self._show_secrets = contextlib.ExitStack()
        self._starting = threading.Lock()
        self._is_first_report = True
        self._errors: list[str] = []
        """The errors that the driver logged during its first report in set-up."""
        self._engine = Engine(settings, store=store, runtime=runtime, meter=meter, check_lease=check_lease)
        self.existing = existing_calls.Existing(self._engine)

    # --- lifecycle

    @property
    def ready(self) -> bool:
        return self._engine.driver is not None

    @property
    def driver(self) -> Any:
        """The Cinder driver itself. Raises BackendUnavailable."""
        return self._engine.ready_driver()

    def start(self) -> Started | None:
        """Load and set up the driver, and start to export attached volumes again. None if it is ready already.

        Raises:
            ConfigurationError: the driver, an option or a library is invalid or missing.
            BackendUnavailable: the storage does not respond; start again later.
            HostError: this host cannot start it now, for example because its disk is full; start again later.
        """
        with self._starting:
            if self.ready:
                return None
            self._hide(self._engine.secrets)
            try:
                with routed(self._engine.route), kernel.named(f"cannot start back end {self.name!r}"):
                    started = self._start()
            except BaseException as error:
                if isinstance(error, DriverError):
                    self.failure = redact.of_backend(error, secret_values.of_options(self.settings))
                self._forget()
                raise
            self.failure = ""
            return started

    def check_options(self) -> None:
        """Load the driver and check its options without contacting the storage. For a process that ends after it.

        Raises:
            ConfigurationError: the driver, an option or a library is wrong or missing.
            BackendUnavailable: the driver contacts its storage while it is loaded, and got no response.
        """
        self._hide(self._engine.secrets)
        with routed(self._engine.route):
            self._construct()

    def _start(self) -> Started:
        engine = self._engine
        driver = self._construct()
        self._hide_also({*secret_values.of(self.settings), *conf.secrets_of(self._section)})
        own_limit = loading.calls_at_a_time(driver)
        calls = self.settings.max_concurrent_calls or own_limit
        engine.limit(calls, extra=0 if calls == own_limit else 1)
        self._errors = loading.set_up(self.settings, driver, engine.context, engine.work())
        # Before the first call is served: it may concern a volume to be exported again.
        self._exports = exports.Exports(engine, driver) if self._exports_at_start(driver) else None
        engine.driver = driver
        try:
            if loading.overrides(driver, "update_provider_info"):  # a driver may correct ids
                update_provider_info(engine)
            self._is_first_report = True
            report = self.report()
            ratings.check(self.name, self._parsed(report))
        except BaseException:
            engine.driver = self._exports = None
            raise
        if self._exports is not None:
            self._exports.start()
        return Started(traits=loading.traits(driver, engine.host), report=report)

    def _construct(self) -> Any:
        """The driver with its options checked, before its set-up."""
        engine = self._engine
        engine.check_lease()
        self._runtime.start()
        self._files.refresh()
        self._section = self._runtime.add_section(self.settings, self._files.options())
        self._runtime.routes.add(engine.route)
        engine.context = convert.admin_context()
        is_empty = not self._store.page(Volume, limit=1, where={"backend": self.name}).records
        return loading.construct(self.settings, self._runtime, self._section, is_empty=is_empty)

    def _hide(self, secrets: Iterable[str]) -> None:
        """Replace the secrets hidden in all threads, until the back end is stopped."""
        with self._show_secrets:
            self._show_secrets = contextlib.ExitStack()
            self._show_secrets.callback(redact.hide_in_process(secrets))

    def _exports_at_start(self, driver: object) -> bool:
        return self._ensure_exports and loading.exports_at_start(driver)

    def wait_for_exports(self) -> None:
        """Wait until each attached volume has been exported again or has failed."""
        exporting = self._exports
        if exporting is not None:
            exporting.wait()

    def leave_exports(self) -> None:
        """Leave the remaining exports to the next process."""
        exporting = self._exports
        if exporting is not None:
            exporting.end_walk()

    def stop(self) -> None:
        """Unload the driver and end its background looping calls. Volumes and connections are not affected."""
        with self._starting:
            self._engine.driver = None
            if self._exports is not None:
                self._exports.stop()
                self._exports = None
            self.failure = "stopped"
            self._forget()
            self._show_secrets.close()

    def _forget(self) -> None:
        self._runtime.routes.remove(self._engine.route)
        self._engine.route.loops.stop(self.name)
        if self._section:
            self._runtime.remove_section(self._section)
            self._section = ""
        self._files.close()

    # --- report

    def ask(self) -> None:
        """Does nothing: `report` asks the driver in the calling thread."""

    def report(self, *, patience: float | None = None) -> Report:  # noqa: ARG002  # see below
        """Ignores `patience`: callers in this process wait for the driver."""
        engine = self._engine
        driver = engine.ready_driver()
        # Set-up has just fetched a report from the array, so the first report reuses it.
        refresh, self._is_first_report = not self._is_first_report, False
        self._refresh_files()
        with reached.heard() as errors:
            raw = engine.call(engine.work(), driver.get_volume_stats, refresh=refresh)
        errors, self._errors = [*self._errors, *errors], []
        if not raw:
            raise BackendUnavailable(engine.name, f"the driver reported no statistics{reached.told(errors)}")
        raw = {**raw, **engine.call_quietly(engine.work(), ratings.functions, driver, raw)}
        report = Report(raw=raw, ratio=driver.configuration.safe_get("max_over_subscription_ratio"))
        parsed = self._parsed(report)
        if why := reached.why_not(raw, parsed, errors):
            raise BackendUnavailable(engine.name, why)
        if not all(pool.name for pool in parsed.pools):
            raise BackendUnavailable(engine.name, "the driver reported a pool without a name")
        return report

    def _refresh_files(self) -> None:
        with contextlib.suppress(ConfigurationError):  # the driver continues with the last copy
            if self._files.refresh():
                self._hide_also(secret_values.of(self.settings))

    def _hide_also(self, secrets: Iterable[str]) -> None:
        self._engine.secrets |= set(secrets)
        self._hide(self._engine.secrets)

    def _parsed(self, report: Report) -> BackendStats:
        return capacities.parse(report.raw, backend=self.name, ratio=report.ratio, allocated={})

    def rate(self, stats: BackendStats, candidate: Candidate, *, patience: float) -> Mapping[str, Rating]:  # noqa: ARG002  # see `report`
        return ratings.rate(self._engine.host, stats, candidate)

    # --- volumes

    def name_of(self, record: Volume | Snapshot) -> str:
        if isinstance(record, Volume):
            return volume_calls.name(self._engine, record)
        return snapshot_calls.name(self._engine, record)

    def find_file(self, volume: Volume) -> str:
        return volume_calls.find_file(self._engine, volume)

    def misses_file(self, volume: Volume) -> bool:
        return volume_calls.misses_file(self._engine, volume)

    def create_volume(self, volume: Volume, source: Snapshot | Volume | None) -> Columns:
        return volume_calls.create(self._engine, volume, source)

    def delete_volume(self, volume: Volume, *, unfinished: bool) -> Outcome:
        return volume_calls.delete(self._engine, volume, unfinished=unfinished)

    def extend_volume(self, volume: Volume, attachments: Attachments, size: GiB) -> None:
        volume_calls.extend(self._engine, volume, attachments, size)

    def size_of_volume(self, volume: Volume, attachments: Attachments) -> GiB:
        return volume_calls.size_of(self._engine, volume, attachments)

    def revert_volume(self, volume: Volume, snapshot: Snapshot) -> None:
        volume_calls.revert(self._engine, volume, snapshot)

    def retype_volume(self, volume: Volume, attachments: Attachments, modification: Modification) -> Retyped:
        return retyping.retype(self._engine, volume, attachments, modification)

    # --- snapshots

    def create_snapshot(self, snapshot: Snapshot, volume: Volume, attachments: Attachments) -> Columns:
        return snapshot_calls.create(self._engine, snapshot, volume, attachments)

    def delete_snapshot(
        self, snapshot: Snapshot, volume: Volume | None = None, attachments: Attachments = (), *, unfinished: bool
    ) -> Outcome:
        work = self._engine.work() if volume is None else self._engine.work(volume, attachments=attachments)
        return snapshot_calls.delete(self._engine, work, snapshot, unfinished=unfinished)

    def create_group(self, group: Group, volumes: Sequence[Volume]) -> None:
        group_calls.create_group(self._engine, group, volumes)

    def update_group(
        self, group: Group, volumes: Sequence[Volume], *, add: Sequence[Volume] = (), remove: Sequence[Volume] = ()
    ) -> Mapping[str, Columns]:
        return group_calls.update_group(self._engine, group, volumes, add, remove)

    def create_group_snapshot(
        self, record: GroupSnapshot, group: Group, volumes: Sequence[Volume], members: Sequence[Snapshot]
    ) -> tuple[Columns, Mapping[str, Columns]]:
        return group_calls.create_snapshot(self._engine, record, group, volumes, members)

    def delete_group_snapshot(
        self, record: GroupSnapshot, group: Group, members: Sequence[Snapshot]
    ) -> Mapping[str, Outcome]:
        return group_calls.delete_snapshot(self._engine, record, group, members)

    def delete_group(self, group: Group) -> None:
        group_calls.delete_group(self._engine, group)

    # --- connections

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        connection_calls.validate(self._engine, connector)

    def export_again(self, volume_id: str) -> None:
        exporting = self._exports
        if exporting is not None:
            exporting.ensure(volume_id)

    def create_export(self, volume: Volume, attachment: Attachment, attachments: Attachments) -> Exported:
        with self._engine.turn(volume.id):
            return connection_calls.create_export(self._engine, volume, attachment, attachments)

    def initialize_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments
    ) -> Mapping[str, object]:
        with self._engine.turn(volume.id):
            return connection_calls.initialize(self._engine, volume, attachment, attachments)

    def terminate_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments, *, forced: bool | None = False
    ) -> Released:
        with self._engine.turn(volume.id):
            return connection_calls.terminate(self._engine, volume, attachment, attachments, forced=forced)

    def remove_export(self, volume: Volume, attachments: Attachments) -> None:
        with self._engine.turn(volume.id):
            connection_calls.remove_export(self._engine, volume, attachments)


def update_provider_info(engine: Engine) -> None:
    """Let the driver correct the ids that it returned earlier, as Cinder's volume manager does at each start."""
    work = engine.work().learn_all_attachments()
    found = walk(engine.store, Volume, {"backend": engine.name})
    volumes = [volume for volume in found if volume.status is not Status.DELETED]
    work.volumes.update({volume.id: volume for volume in volumes})
    snapshots = list(walk(engine.store, Snapshot, {"backend": engine.name}))
    volume_objects = [engine.volume_object(work, volume) for volume in volumes]
    snapshot_objects = [engine.snapshot_object(work, snapshot) for snapshot in snapshots]
    updates, snapshot_updates = engine.call(
        work, engine.ready_driver().update_provider_info, volume_objects, snapshot_objects
    )
    for update in updates or ():
        known_volume = work.volumes.get(update["id"])
        if known_volume is not None and known_volume.status not in FOREIGN:
            columns = {"provider_id": update["provider_id"]}
            work.change_volume(update["id"], lambda volume, columns=columns: update_volume(volume, columns))  # type: ignore[misc]
    for update in snapshot_updates or ():
        known = work.snapshots.get(update["id"])
        if (
            known is not None and known.status not in FOREIGN and not known.provider.id
        ):  # Cinder only updates objects without an id
            columns = {"provider_id": update["provider_id"]}
            work.change_snapshot(known.id, lambda record, columns=columns: update_snapshot(record, columns))  # type: ignore[misc]
