"""Driver calls for objects that existed before their records: list, measure, manage, unmanage (`verbs.Existing`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from csi_cinderlib.backend.columns import plain, update_snapshot, update_volume
from csi_cinderlib.backend.verbs import BY_NAME, Columns, Manageable, Measured, Whereabouts, by_name
from csi_cinderlib.cinder import answers, identity, loading, volume_calls
from csi_cinderlib.cinder.attributes import optional
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError, Unsupported
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.iteration import walk

_log = logs.logger(__name__)
_MOST = 1_000_000
"""Entries of a list; Cinder's API shows them in pages."""
_IN_IQN = re.compile(r"[a-z0-9.-]+")
_ABSENT = "ManageExistingInvalidReference"
"""Cinder's exception for a reference without an object. Any other failure of a look-up does not prove that the object is missing."""


class Existing:
    """See `verbs.Existing`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_manageable(self, *, snapshots: bool = False) -> tuple[Manageable, ...]:
        method = _method(self._engine, "get_manageable_snapshots" if snapshots else "get_manageable_volumes")
        work = self._engine.work().learn_all_attachments()
        known = self._snapshots(work) if snapshots else self._volumes(work)
        # By size only: every driver's entries have it, and references of different drivers have different keys.
        listed = self._engine.call(work, method, known, None, _MOST, 0, ["size"], ["asc"])
        found = [_entry(item) for item in listed or ()]
        return tuple(
            replace(item, problem=_pool_problem(self._engine.driver, item.reference) or item.problem) for item in found
        )

    def _volumes(self, work: Work) -> list[Any]:
        found = walk(self._engine.store, Volume, {"backend": self._engine.name})
        return [self._engine.volume_object(work, volume) for volume in found if _is_managed(volume)]

    def _snapshots(self, work: Work) -> list[Any]:
        found = walk(self._engine.store, Snapshot, {"backend": self._engine.name})
        return [self._engine.snapshot_object(work, snapshot) for snapshot in found if _is_managed(snapshot)]

    def measure_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Measured:
        work, subject = self._subject(record)
        return self._measure(work, record, subject, reference)

    def measure_own(self, record: Volume | Snapshot) -> Measured:
        work, subject = self._subject(record)
        name = self._own_name(work, record, subject)
        return self._measure(work, record, subject, {BY_NAME: name or subject.name})

    def _measure(self, work: Work, record: Volume | Snapshot, subject: Any, reference: Mapping[str, str]) -> Measured:
        engine = self._engine
        answer = engine.call(work, _method(engine, f"manage_existing{_suffix(record)}_get_size"), subject, reference)
        details = optional(engine.driver, "existing_details")  # of this project's drivers only
        if details:
            known = engine.call(work, details, subject, reference)
        else:
            problem = _pool_problem(engine.driver, reference) or _export_problem(engine.driver, subject)
            known = {**self._identity(work, subject, reference), "problem": problem}
        return Measured(size=_gib(engine, answer, reference), **known)

    def _identity(self, work: Work, subject: Any, reference: Mapping[str, str]) -> Mapping[str, str]:
        """What the object certainly is, as far as it can be known."""
        driver, name = self._engine.driver, reference.get(BY_NAME, "")
        if not loading.finds_by_name(driver):
            return EMPTY
        found: Mapping[str, str] = self._engine.call(work, identity.of, driver, subject, name)
        return found

    def manage_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Columns:
        work, subject = self._subject(record)
        method = _method(self._engine, f"manage_existing{_suffix(record)}")
        with answers.ids_kept(work, record, subject):
            update = self._engine.ask(work, method, subject, dict(reference))
            if isinstance(record, Volume):  # fails if a record cannot store the result
                update_volume(record, update)
            else:
                update_snapshot(record, update)
        return answers.plain(update)

    def locate(self, record: Volume | Snapshot) -> Whereabouts:
        assert record.imported is not None, "only imported objects are located"
        work, subject = self._subject(record)
        reference = by_name(record.imported.reference) or record.imported.reference  # an id is found under any name
        former = self._is_former(work, record, subject, reference)
        if record.imported.static or not loading.finds_by_name(self._engine.driver):
            return Whereabouts(former=former, own=None)
        return Whereabouts(former=former, own=bool(self._own_name(work, record, subject)))

    def unmanage(self, record: Volume | Snapshot, *, may_be_done: bool = False) -> str:
        assert record.imported is not None, "only imported objects are unmanaged"
        self._drop_export(record)
        if record.imported.static:
            return record.imported.name
        if loading.finds_by_name(self._engine.ready_driver()):
            return self._restore_name(record, may_be_done=may_be_done)
        work, subject = self._subject(record)
        unmanage = _method(self._engine, f"unmanage{_suffix(record)}")
        try:
            self._engine.call(work, unmanage, subject)
        except BackendUnavailable:
            raise
        except DriverError:
            if not may_be_done or not self._is_certainly_there(work, record, subject):
                raise
            return record.imported.name  # it was not managed, or another attempt has unmanaged it
        return record.imported.name if self._is_certainly_there(work, record, subject) else ""

    def _drop_export(self, record: Volume | Snapshot) -> None:
        """As Cinder does: the removal may have failed when the last node let go, and the next owner must not inherit the export."""
        if isinstance(record, Volume):
            engine, work = self._engine, self._engine.work(record, attachments=())
            volume_calls.drop_export(engine, work, engine.ready_driver(), engine.volume_object(work, record))

    def _restore_name(self, record: Volume | Snapshot, *, may_be_done: bool) -> str:
        """The name after the driver has restored the former one, if it can. Without its object there is nothing to give up.

        Taking an object over renames it to the name of Cinder's object, so an object with the former name takes it back.

        Args:
            may_be_done: see `verbs.Existing.unmanage`.
        """
        assert record.imported is not None, "only imported objects are unmanaged"
        engine, name = self._engine, record.imported.name
        work, subject = self._subject(record)
        unmanage = _method(engine, f"unmanage{_suffix(record)}")
        current, own = self._own_name(work, record, subject), subject.name
        if not current:
            if may_be_done and self._is_former(work, record, subject, {BY_NAME: name}):
                return name
            also = f" nor, certainly the same, {name!r}" if may_be_done else ""
            raise BackendError(engine.name, f"{own!r}{also} was not found; it was not given up")
        work.hidden = frozenset({record.id})
        subject.own_name = name
        try:
            engine.call(work, _method(engine, f"manage_existing{_suffix(record)}"), subject, {BY_NAME: current})
        except BackendUnavailable:
            raise
        except DriverError as error:
            _log.warning("former name not restored", id=record.id, backend=engine.name, name=current, reason=str(error))
            subject.own_name = ""
            if not self._has(work, record, subject, {BY_NAME: current}):
                raise
            name = current
        # Last, since rbd.py finds a snapshot only under its present name, and has protected it again.
        engine.call(work, unmanage, subject)
        return name

    def _own_name(self, work: Work, record: Volume | Snapshot, subject: Any) -> str:
        """The name of the record's object, if there is one; lvm.py escapes names of snapshots."""
        names = (str(subject.name), f"_{subject.name}")
        return next((name for name in names if self._has(work, record, subject, {BY_NAME: name})), "")

    def _is_former(self, work: Work, record: Volume | Snapshot, subject: Any, reference: Mapping[str, str]) -> bool:
        """Whether the object that was imported still, or again, has its former name. Another one with that name is not it."""
        assert record.imported is not None, "only imported objects are located"
        found = self._find(work, record, subject, reference)
        return found is not None and record.imported.object_id in ("", found.object_id)

    def _has(self, work: Work, record: Volume | Snapshot, subject: Any, reference: Mapping[str, str]) -> bool:
        """Whether there is such an object. Raises DriverError if the driver does not know."""
        return self._find(work, record, subject, reference) is not None

    def _find(
        self, work: Work, record: Volume | Snapshot, subject: Any, reference: Mapping[str, str]
    ) -> Measured | None:
        try:
            return self._measure(work, record, subject, reference)
        except DriverError as error:
            if _ABSENT in {cls.__name__ for cls in type(error.__cause__).__mro__}:
                return None
            raise

    def _is_certainly_there(self, work: Work, record: Volume | Snapshot, subject: Any) -> bool:
        """Whether the object has its former name. An id says nothing about the name."""
        assert record.imported is not None, "only imported objects are unmanaged"
        name = by_name(record.imported.reference)
        try:
            return bool(name) and self._has(work, record, subject, name)
        except BackendUnavailable:
            raise
        except DriverError:
            return False

    def _subject(self, record: Volume | Snapshot) -> tuple[Work, Any]:
        """Cinder's object. Raises BackendError if the back end is not where the object was when it was imported."""
        engine = self._engine
        engine.ready_driver()
        if isinstance(record, Volume):
            work = engine.work(record, attachments=())
            subject = engine.volume_object(work, record)
        else:
            work = engine.work()
            subject = engine.snapshot_object(work, record)
        place = record.imported.place if record.imported else ""
        if place and (now := self._identity(work, subject, EMPTY).get("place", "")) != place:
            raise BackendError(
                engine.name, f"the object was in {place}, and this back end now uses {now or 'another place'}"
            )
        return work, subject


def _pool_problem(driver: Any, reference: Mapping[str, str]) -> str:
    """lvm.py lists the thin pool of its volume group, while that is empty, like any logical volume, and would rename it."""
    pool = str(getattr(optional(driver, "vg"), "vg_thin_pool", None) or "").rpartition("/")[2]
    return "it is the thin pool of this back end" if pool and reference.get(BY_NAME) == pool else ""


def _export_problem(driver: Any, subject: Any) -> str:
    """lvm.py puts the name into an IQN. LIO refuses `_` there after it has opened the volume, and does not find upper case again."""
    is_lvm = optional(driver, "vg") is not None and driver.configuration.safe_get("target_protocol") in (
        "iscsi",
        "iser",
    )
    if not (subject.is_static and is_lvm) or _IN_IQN.fullmatch(subject.name):
        return ""
    return "its name cannot be part of an IQN (a-z, 0-9, - and .); import it without --static, or rename it"


def _gib(engine: Engine, answer: Any, reference: Mapping[str, str]) -> GiB:
    """The size that a driver returned, rounded up: some of them return fractions. Raises BackendError."""
    is_number = isinstance(answer, Real) and not isinstance(answer, bool)
    if not is_number or not math.isfinite(answer) or answer <= 0:
        raise BackendError(engine.name, f"the driver returned {answer!r} as the size of {dict(reference)}")
    return GiB(math.ceil(answer))


def _is_managed(record: Volume | Snapshot) -> bool:
    return record.status not in (Status.DELETED, Status.IMPORTING)


def _suffix(record: Volume | Snapshot) -> str:
    return "" if isinstance(record, Volume) else "_snapshot"


def _method(engine: Engine, name: str) -> Any:
    """The driver's method. Raises Unsupported if it has none."""
    driver = engine.ready_driver()
    if not loading.overrides(driver, name) and not name.startswith("unmanage"):
        what = "snapshots" if "snapshot" in name else "volumes"
        verb = "list" if name.startswith("get_") else "import"
        raise Unsupported(f"the driver of back end {engine.name!r} cannot {verb} existing {what}")
    return optional(driver, name, _nothing)


def _nothing(_subject: Any) -> None:
    """Cinder's own `unmanage` does nothing either."""


def _entry(item: Mapping[str, Any]) -> Manageable:
    problem = "" if item.get("safe_to_manage") else str(item.get("reason_not_safe") or "the driver does not say why")
    return Manageable(
        reference=_texts(item.get("reference")),
        size=GiB(int(item.get("size") or 0)),
        problem=problem,
        remark=str(plain(item.get("extra_info")) or ""),
        source=_texts(item.get("source_reference")),
        place=str(item.get("place") or ""),
        record=str(item.get("cinder_id") or ""),
    )


def _texts(reference: object) -> Mapping[str, str]:
    if not isinstance(reference, Mapping):
        return EMPTY
    return {str(key): str(value) for key, value in reference.items()}
