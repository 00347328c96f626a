"""Makes a plan from a database, and compares a plan with it again before it is carried out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.openstack import records
from csi_cinderlib.adoption.openstack.entries import Entry, entries
from csi_cinderlib.adoption.openstack.known import Known
from csi_cinderlib.adoption.openstack.places import Places
from csi_cinderlib.adoption.openstack.plan import Plan, PlannedInitiator, PlannedVolume, planned_volume
from csi_cinderlib.adoption.openstack.records import Adopted, Names
from csi_cinderlib.adoption.openstack.refusals import reasons
from csi_cinderlib.adoption.openstack.selection import Selection
from csi_cinderlib.adoption.openstack.source import Source
from csi_cinderlib.adoption.rows import check, label
from csi_cinderlib.errors import DriverError, InvalidRequest, Problem
from csi_cinderlib.model.records import InitiatorData, Record, Status
from csi_cinderlib.persistence.api import KINDS

_INITIATORS = "driver_initiator_data"
_UNCHECKED = "its pool is that of Cinder, because the driver does not run here; compare it with `csi-cinderlib get backends -o wide`"
_SHARED = "its back end here is that of several hosts of Cinder, which must be the same storage"
_ANOTHER_VALUE = "the store has another value for this initiator, and keeps it"


@dataclass(frozen=True, slots=True)
class Judged:
    """A volume with the decision about it.

    Attributes:
        adopted: its records; None if it is refused.
        refused: the reasons, as clauses; empty if it can be adopted.
        notes: what an operator should know about it, as clauses.
    """

    entry: Entry
    adopted: Adopted | None = field(default=None, repr=False)
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge(entry: Entry, places: Places) -> Judged:
    """Decide about a volume by Cinder's database alone."""
    if refused := reasons(entry):
        return Judged(entry, refused=refused)
    try:
        adopted = records.adopted(entry, places.find(entry.host))
    except InvalidRequest as error:
        return Judged(entry, refused=(f"{error.field}: {error.problem}" if error.field else error.problem,))
    except DriverError as error:
        return Judged(entry, refused=(str(error),))
    except Exception as error:  # a value of an unforeseen form must not hide the other volumes
        return Judged(entry, refused=(f"has a value of an unexpected form ({type(error).__name__})",))
    return Judged(entry, adopted, notes=records.notes(entry, adopted.volume))


def judged(
    source: Source,
    selection: Selection,
    places: Places,
    known: Known | None = None,
    *,
    again: Collection[str] = (),
    while_running: bool = False,
) -> Iterator[Judged]:
    """Decide about the selected volumes, in the order of ids.

    Args:
        known: the store, if it matters.
        again: volumes that may have been adopted before and deleted since.
        while_running: Cinder may be running: the caller knows that nothing uses it.
    """
    for entry in selection.of(entries(source.tables, () if while_running else source.running)):
        item = judge(entry, places)
        yield item if known is None else _compared(item, known, again)


def _compared(item: Judged, known: Known, again: Collection[str]) -> Judged:
    """The decision with what the store knows."""
    refused = (*known.refusals(item.entry, again), *item.refused)
    if not refused and item.adopted and (owner := known.owner((item.adopted.volume, *item.adopted.snapshots))):
        refused = (f"its object on the array, or that of a snapshot, has a record already: {owner}",)
    if refused or item.adopted is None:
        return replace(item, adopted=None, refused=refused)
    return replace(item, notes=(*item.notes, *known.notes(item.adopted.volume)))


@dataclass(frozen=True, slots=True)
class Initiators:
    """The data of drivers for initiators, such as CHAP passwords that the array has.

    Attributes:
        problems: by row.
    """

    records: tuple[InitiatorData, ...]
    problems: Mapping[str, str]


def initiators(source: Source) -> Initiators:
    """Those of all back ends: their namespaces are settings of Cinder."""
    made, problems = [], {}
    for row in source.tables[_INITIATORS]:
        try:
            check(row)
            made.append(mapping.initiator_data(row))
        except InvalidRequest as error:
            problems[f"{_INITIATORS} {label(row)}"] = f"{error.field}: {error.problem}"
    return Initiators(tuple(sorted(made, key=lambda record: record.id)), problems)


def make(
    source: Source,
    selection: Selection,
    places: Places,
    names: Names,
    found: Iterable[Judged],
    known: Known | None = None,
    *,
    again: Collection[str] = (),
) -> Plan:
    """The plan for the selected volumes. Raises InvalidRequest: a template of names is invalid."""
    stored, found = known.initiators if known else {}, tuple(found)
    sources = _sources(found)
    volumes, refused, hosts = [], {}, {}
    for item in found:
        if item.adopted is None:
            refused[item.entry.id] = item.refused
        else:
            place = places.find(item.entry.host)
            hosts[item.entry.host] = place.backend + (f"#{place.pool}" if place.pool else "")
            notes = item.notes if places.is_checked(place) else (*item.notes, _UNCHECKED)
            sharing = sorted(sources[place.backend])
            notes = (*notes, f"{_SHARED}: {', '.join(sharing)}") if len(sharing) > 1 else notes
            volumes.append(planned_volume(item.entry, item.adopted, names, notes))
    data = initiators(source)
    refused |= {row: (problem,) for row, problem in data.problems.items()}
    return Plan(
        database=source.shown,
        release=str(source.release),
        templates=names.given,
        selection=selection.given,
        backends=dict(sorted(hosts.items())),
        again=sorted(set(again)),
        volumes=tuple(volumes),
        initiators=tuple(
            PlannedInitiator(
                initiator=item.initiator,
                namespace=item.namespace,
                key=item.key,
                note=_ANOTHER_VALUE if stored.get(item.id, item.value) != item.value else "",
            )
            for item in data.records
        ),
        refused=refused,
    )


def _sources(found: Iterable[Judged]) -> Mapping[str, set[str]]:
    """Cinder's hosts by the back end that their volumes come to."""
    sources = defaultdict(set)
    for item in found:
        if item.adopted is not None:
            sources[item.adopted.volume.backend].add(item.entry.host.partition("#")[0])
    return sources


def compare(
    plan: Plan, source: Source, places: Places, names: Names, *, while_running: bool = False
) -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
    """The records of a plan, and what has changed since it was made, by volume. With problems, nothing may be written."""
    wanted = {volume.id: volume for volume in plan.volumes}
    running = () if while_running else source.running
    present = {entry.id: entry for entry in entries(source.tables, running) if entry.id in wanted}
    found: list[Record] = []
    problems: list[Problem] = []
    for id, volume in wanted.items():
        made = _remade(volume, present, places, names)
        if isinstance(made, str):
            problems.append(Problem(f"volume {id}", f"{made}; make a new plan"))
        else:
            found += [_marked(record, plan) for record in (made.volume, *made.snapshots)]
    known = {record.id: record for record in initiators(source).records}
    for item in plan.initiators:
        if item.id in known:
            found.append(known[item.id])
        else:
            problems.append(Problem(_INITIATORS, "has changed since the plan was made; make a new plan"))
    return tuple(sorted(found, key=lambda record: KINDS.index(type(record)))), tuple(problems)


def _marked(record: Any, plan: Plan) -> Any:
    """The record as it is stored until the adoption is completed."""
    return replace(record, status=Status.ADOPTING, adoption=plan.name)


def _remade(volume: PlannedVolume, present: Mapping[str, Entry], places: Places, names: Names) -> Adopted | str:
    """The records of a planned volume, or what has changed."""
    entry = present.get(volume.id)
    if entry is None:
        return "no longer exists in Cinder's database, or is deleted"
    item = judge(entry, places)
    if item.adopted is None:
        return f"can no longer be adopted: {'; '.join(item.refused)}"
    if entry.fingerprint != volume.source:
        return "has changed in Cinder's database since the plan was made"
    if planned_volume(entry, item.adopted, names, volume.notes) != volume:
        return "would get another record: the configuration or csi-cinderlib has changed since the plan was made"
    return item.adopted
