"""Imports: objects that existed on the back end before their records become volumes and snapshots, and are given up again.

The record is stored first, with the name that the object has. No step deletes the object: a failed import gives it back, and an
interrupted one is finished or given back by the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.backend.stats import DriverTraits
from csi_cinderlib.backend.verbs import Columns, Driver, Manageable, Measured, Whereabouts, by_name, is_name
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendUnavailable,
    DriverError,
    InUse,
    PreconditionFailed,
    Unsupported,
)
from csi_cinderlib.lifecycle import candidates, dependents, mutability
from csi_cinderlib.lifecycle.ledger import Ledger, log_values, noun
from csi_cinderlib.lifecycle.owners import Owners, Target, refusals
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Imported, Snapshot, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.optimistic import change

S = TypeVar("S", Volume, Snapshot)
_LOST = "lost"
"""The id of an object that is not known any more. No object has it."""
_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """The result of giving an object up.

    Attributes:
        name: its name on the back end now; "" if the driver chose it.
    """

    record: Volume | Snapshot
    name: str


class Imports:
    """Imports on one back end. Callers hold the locks of the record and of the back end's imports.

    Args:
        traits: returns the driver's traits. Raises BackendUnavailable.
    """

    def __init__(self, ledger: Ledger, driver: Driver, room: Room, traits: Callable[[], DriverTraits]) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._driver = driver
        self._room = room
        self._traits = traits

    def candidates(self, *, snapshots: bool = False) -> tuple[Manageable, ...]:
        """The existing objects that the driver lists; the ones with a record have a `problem`. Raises Unsupported."""
        self._traits()
        listed, owners = self._driver.existing.list_manageable(snapshots=snapshots), Owners.read(self._store)
        return tuple(replace(item, problem=owners.of(self._target(item)) or item.problem) for item in listed)

    def _target(self, item: Manageable) -> Target:
        return Target(backend=self._ledger.name, reference=item.reference, place=item.place)

    def examine(self, record: S) -> tuple[S, Measured]:
        """Check an object before it is taken over, for the first time or again. Changes nothing.

        Returns:
            The record with the driver's reference and the properties of the object, and its size.

        Raises:
            AlreadyExists: the object has another record.
            InUse: the driver reports it in use, or otherwise not safe to import.
            PreconditionFailed: it is a snapshot of another volume, or several objects have the name.
            Unsupported: the driver cannot import it.
            DriverError: of the driver, for example if it does not exist.
        """
        self._check_supported(record)
        listed, owners = self._listed(record), Owners.read(self._store)
        reference = candidates.reference_of(listed, record)
        record = replace(record, imported=replace(_origin(record), reference=reference))
        wanted = _target_of(record)
        try:
            measured = self._driver.existing.measure_existing(record, wanted.reference)
        except BackendUnavailable:
            raise
        except DriverError:  # drivers refuse the names of their own volumes with other words
            self._refuse_owned(owners, record, wanted)
            raise
        record = self._identified(record, measured)
        found = candidates.match(listed, record, self._names_of_volume(record), measured.place)
        self._refuse_owned(owners, record, _target_of(record))
        if found is None and not measured.checked:
            self._refuse_unlisted(record, owners, has_list=listed is not None)
        if problem := (found.problem if found else "") or measured.problem:
            raise InUse(f"{noun(record)} {_origin(record).name!r} on back end {self._ledger.name!r}: {problem}")
        if measured.unseen:
            self._require_word(record, "use of it by others cannot be seen")
        return _updated(replace(record, size=measured.size), measured.columns), measured

    def _identified(self, record: S, measured: Measured) -> S:
        """The record of this object. Raises PreconditionFailed if that was another one, or is not certain for a static import."""
        imported = _origin(record)
        what = f"{noun(record)} {imported.name!r} on back end {self._ledger.name!r}"
        if imported.object_id not in ("", measured.object_id):
            raise PreconditionFailed(f"{what} is not the object whose import was begun; undo that import")
        if imported.static and not (measured.place and measured.object_id):
            raise Unsupported(f"{what} has no id that proves that it is not replaced; import it without --static")
        return replace(record, imported=replace(imported, place=measured.place, object_id=measured.object_id))

    def _refuse_owned(self, owners: Owners, record: Volume | Snapshot, target: Target) -> None:
        if owner := owners.of(target):
            raise AlreadyExists(noun(record), _origin(record).name, owner)

    def _refuse_unlisted(self, record: Volume | Snapshot, owners: Owners, *, has_list: bool) -> None:
        """Only a driver's list tells whether an object is in use, or is of a kind that must not be imported.

        Raises:
            PreconditionFailed: the list does not show it; or there is none, and its id may be that of a known volume.
            Unsupported: there is no list, and nothing else answers that question.
        """
        name, back_end = _origin(record).name, f"back end {self._ledger.name!r}"
        if has_list:
            raise PreconditionFailed(
                f"{noun(record)} {name!r} is not in the list of {back_end}, so it is not known whether it is in use; "
                f"name it as `csi-cinderlib import-{noun(record)} {self._ledger.name} --list` shows it"
            )
        traits = self._traits()
        if isinstance(record, Snapshot) and not (traits.independent_snapshots or traits.checks_parents):
            raise Unsupported(
                f"the driver of {back_end} lists no snapshots, and may take one of another volume; it cannot import snapshots"
            )
        self._require_word(record, "its driver lists no volumes, so it is not known whether it is in use")
        is_volume_by_id = isinstance(record, Volume) and not by_name(_origin(record).reference)
        if is_volume_by_id and (other := owners.without_id(self._ledger.name)):
            raise PreconditionFailed(
                f"{noun(record)} {name!r} on {back_end} may be volume {other!r}, whose id on the array is not known; import it by its name"
            )

    def _require_word(self, record: Volume | Snapshot, why: str) -> None:
        """Raises Unsupported unless the administrator is certain that nothing uses the volume."""
        if isinstance(record, Volume) and not _origin(record).request.get("unchecked"):
            raise Unsupported(
                f"volume {_origin(record).name!r} on back end {self._ledger.name!r}: {why}; make sure that nothing uses it, and repeat "
                "the import with --unchecked (unchecked: true)"
            )

    def _check_supported(self, record: Volume | Snapshot) -> None:
        traits, imported = self._traits(), _origin(record)
        what = f"{noun(record)}s"
        if not (traits.manages_volumes if isinstance(record, Volume) else traits.manages_snapshots):
            raise Unsupported(f"the driver of back end {self._ledger.name!r} cannot import existing {what}")
        if imported.static and not traits.finds_by_name:
            raise Unsupported(
                f"the driver of back end {self._ledger.name!r} finds {what} only by names or ids that it assigns itself; "
                "import the object without --static"
            )

    def _listed(self, record: Volume | Snapshot) -> Sequence[Manageable] | None:
        """None if the driver lists nothing."""
        try:
            return self._driver.existing.list_manageable(snapshots=isinstance(record, Snapshot))
        except Unsupported:
            return None

    def _names_of_volume(self, record: Volume | Snapshot) -> frozenset[str] | None:
        """All names and ids of the volume of a snapshot; None if its snapshots do not depend on it."""
        if isinstance(record, Volume) or self._traits().independent_snapshots:
            return None
        volume = self._store.get(Volume, record.volume_id)
        names = {self._driver.name_of(volume), volume.provider.id}
        if volume.imported and volume.imported.static:
            names |= {volume.imported.name, *volume.imported.reference.values()}
        elif volume.imported:
            names |= {value for key, value in volume.imported.reference.items() if not is_name(key)}
        if not self._traits().finds_by_name:  # the driver's list tells its own name of the volume
            listed = self._listed(volume) or ()
            names.update(value for item in listed if item.record == volume.id for value in item.reference.values())
        return frozenset(str(name) for name in names if name)

    # --- import

    def begin(self, record: S) -> S:
        """Store the intent, let the driver take the object over, and store the result. `record` comes from `examine`.

        Raises:
            AlreadyExists: the id is in use, so call `resume` if that record is IMPORTING; or the object has got another record since.
            BackendUnavailable: the record is kept, because the driver may have changed the object; `resume` or `undo` it.
            DriverError: of the driver. The record is removed only if the object certainly has its former name.
        """
        self._room.check()
        now = record.created_at or self._ledger.now()
        intent: S = replace(record, status=Status.IMPORTING, owner=self._ledger.owner, message="", created_at=now)
        intent = self._store.add(intent)
        faultpoints.reach(f"import-{noun(record)}.record-written")
        self._give_way(intent)
        return self._take_over(intent)

    def _give_way(self, intent: Volume | Snapshot) -> None:
        """Remove the intent again if another process has added a record for the object since `examine`. Raises AlreadyExists."""
        if owner := refusals(self._store, [intent]).get(intent.id):
            self._remove(intent)
            raise AlreadyExists(noun(intent), _origin(intent).name, owner)

    def resume(self, record: S) -> S:
        """Finish an interrupted import, after the checks of `examine`. Returns an AVAILABLE record unchanged. Raises the errors of `begin`."""
        if record.status is Status.AVAILABLE:
            return record
        if record.status is not Status.IMPORTING:
            raise PreconditionFailed(f"{noun(record)} {record.id!r} is {record.status}; its import cannot be resumed")
        self._room.check()
        record = self._ledger.intend(record, Status.IMPORTING)
        try:
            where = self._driver.existing.locate(record)
            if not where.former:
                self._restart(record, where)
            _, measured = self.examine(record)
            if measured.size != record.size:
                raise PreconditionFailed(
                    f"{noun(record)} {_origin(record).name!r} has {measured.size} GiB, but had {record.size} GiB; undo its import"
                )
        except DriverError as error:
            self._ledger.give_back(record, Status.IMPORTING, str(error))
            raise
        return self._take_over(record)

    def _restart(self, record: S, where: Whereabouts) -> None:
        """Give an object that has the name of its record already its former name: the driver may not have finished it. Or refuse."""
        imported, name = _origin(record), self._driver.name_of(record)
        what = f"{noun(record)} {imported.name!r} on back end {self._ledger.name!r}"
        if not where.own:
            also = (
                f", nor as {name!r}"
                if where.own is False
                else ", and its driver cannot look for the name that it may have now"
            )
            raise PreconditionFailed(
                f"{what} was not found under that name{also}; undo the import, or look on the back end"
            )
        measured = self._driver.existing.measure_own(record)
        if measured.problem:
            raise InUse(f"{what}, now {name!r}: {measured.problem}")
        if self._driver.existing.unmanage(record, may_be_done=True) != imported.name:
            raise PreconditionFailed(f"{what} is now {name!r}, and another object has its former name; undo the import")

    def _take_over(self, record: S) -> S:
        if _origin(record).static:
            return self._finish(record, {})
        try:
            columns = self._driver.existing.manage_existing(record, _origin(record).reference)
        except BackendUnavailable as error:
            self._ledger.give_back(record, Status.IMPORTING, str(error))
            raise
        except DriverError as error:
            self._give_back(record, error)
            raise
        return self._finish(record, columns)

    def _finish(self, record: S, columns: Columns) -> S:
        faultpoints.reach(f"import-{noun(record)}.driver-done")

        def finished(current: S) -> S:
            self._ledger.check_own(current, Status.IMPORTING)
            return replace(_updated(current, columns), status=Status.AVAILABLE, owner="", message="")

        return change(self._store, record, finished)

    def _give_back(self, record: S, error: DriverError) -> None:
        """Remove the record of a failed import only if the object certainly has its former name, else keep it with the reason."""
        try:
            is_renamed = self._is_renamed(record)
        except DriverError as second:
            self._ledger.give_back(record, Status.IMPORTING, f"{error}; it is not known where the object is: {second}")
            return
        if is_renamed:
            self._ledger.give_back(
                record, Status.IMPORTING, f"{error}; the object may have another name; repeat or undo the import"
            )
        else:
            self._remove(record)

    def _is_renamed(self, record: Volume | Snapshot) -> bool:
        """Whether the driver has, or may have, renamed the object."""
        where = self._driver.existing.locate(record)
        if where.own is None:  # an object that is found by an id may have any name
            return not where.former or not by_name(_origin(record).reference)
        return where.own or not where.former

    def _remove(self, record: Volume | Snapshot) -> None:
        if isinstance(record, Snapshot):
            self._ledger.remove_snapshot(record)
        else:
            self._ledger.remove(record)

    # --- undo

    def check_undo(self, record: Volume | Snapshot) -> None:
        """Refuse early: nothing that uses the object may be removed for an undo that is then refused. Raises the refusals of `undo`."""
        if record.imported is None:
            raise PreconditionFailed(f"{noun(record)} {record.id!r} was created by this driver, not imported")
        if record.status not in (Status.AVAILABLE, Status.IMPORTING, Status.UNMANAGING):
            raise PreconditionFailed(f"{noun(record)} {record.id!r} is {record.status}; its import cannot be undone")
        if isinstance(record, Volume) and mutability.is_modifying(record):
            raise PreconditionFailed(
                f"volume {record.id!r} is being modified; finish or take back that modification first"
            )
        if isinstance(record, Volume):
            dependents.refuse_early(self._store, record, has_no_snapshots=True)

    def undo(self, record: S) -> Given:
        """Give an imported object up: it stays on the back end without a record. Also finishes an interrupted undo.

        Raises:
            PreconditionFailed: it was not imported, or another operation on it is not finished.
            InUse: it is attached, is being copied, or has snapshots. Nothing is changed.
            DriverError: the object was not found, or that is not known. The record is kept.
        """
        self.check_undo(record)
        was = record.status
        if was is Status.AVAILABLE:
            record = self._certain(record)
        record = self._ledger.intend(record, Status.UNMANAGING)
        faultpoints.reach(f"unmanage-{noun(record)}.record-written")
        try:
            self._refuse_dependents(record)
        except DriverError:
            self._ledger.give_back(record, was, "")
            raise
        try:
            name = self._driver.existing.unmanage(record, may_be_done=was is not Status.AVAILABLE)
        except DriverError as error:
            self._ledger.note(record, Status.UNMANAGING, str(error))
            raise
        faultpoints.reach(f"unmanage-{noun(record)}.driver-done")
        if not name and by_name(_origin(record).reference):
            reason = "its driver chose a new name when the import was undone"
            self._ledger.note_leftover(record, _origin(record).name, reason)
        self._remove(record)
        _log.info("import undone", **log_values(record), name=name, former=_origin(record).name)
        return Given(record, name)

    def _certain(self, record: S) -> S:
        """The record with the id of its object, which a revert may have changed: a repeated undo must know it under its former name.

        Raises:
            BackendUnavailable: nothing is changed.
        """
        imported = _origin(record)
        if imported.static or not imported.place:  # no other id is known
            return record
        try:
            found = self._driver.existing.measure_own(record).object_id
        except BackendUnavailable:
            raise
        except DriverError:  # the undo reports it
            found = imported.object_id or _LOST
        return replace(record, imported=replace(imported, object_id=found))

    def _refuse_dependents(self, record: Volume | Snapshot) -> None:
        """Call it after the intent is stored: a call that adds a dependent checks the intent afterwards."""
        if isinstance(record, Volume):
            dependents.refuse_for_volume(self._ledger, record, independent=False)
        else:
            dependents.refuse_copies(self._ledger, record)


def _origin(record: Volume | Snapshot) -> Imported:
    assert record.imported is not None, "the record of an import names its origin"
    return record.imported


def _updated(record: S, columns: Columns) -> S:
    return update_volume(record, columns) if isinstance(record, Volume) else update_snapshot(record, columns)


def _target_of(record: Volume | Snapshot) -> Target:
    imported = _origin(record)
    volume_id = record.volume_id if isinstance(record, Snapshot) else ""
    return Target(
        backend=record.backend,
        reference=imported.reference,
        place=imported.place,
        volume_id=volume_id,
        record=record.id,
    )
