"""The steps of `csi-cinderlib adopt cinder`: listing, planning, carrying out and undoing, with a store and its configuration."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csi_cinderlib.commands import adopt_target, options, output
from csi_cinderlib.errors import InvalidRequest, Problem
from csi_cinderlib.observe import progress

if TYPE_CHECKING:
    from csi_cinderlib.adoption.openstack.adopted import Adopted
    from csi_cinderlib.adoption.openstack.applying import Recheck
    from csi_cinderlib.adoption.openstack.places import Places
    from csi_cinderlib.adoption.openstack.plan import Plan, PlannedVolume
    from csi_cinderlib.adoption.openstack.planning import Judged
    from csi_cinderlib.adoption.openstack.records import Names
    from csi_cinderlib.adoption.openstack.selection import Selection
    from csi_cinderlib.adoption.openstack.source import Source
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.model.records import Record

COLUMNS = ("id", "name", "project", "type", "host", "gib", "status", "snapshots", "adoptable", "reason")
_SKIP = ", or leave these volumes out with --skip-problems"


@dataclass(frozen=True, slots=True)
class Choice:
    """How to adopt.

    Attributes:
        mapping: Cinder's hosts to back ends, as given.
        again: volumes that may have been adopted before and deleted since.
        while_running: nothing uses the volumes through Cinder, although its service may be running.
        skip_problems: leave out volumes with problems.
        into: URL of a database of the library; "" is the configured store.
    """

    mapping: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    while_running: bool = False
    skip_problems: bool = False
    into: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """The store into which volumes are adopted, and its configuration."""

    given: options.Given
    choice: Choice

    def show(self, source: Source, selection: Selection, format: output.Format) -> int:
        """Print the selected volumes. The store is not needed."""
        from csi_cinderlib.adoption.openstack import planning

        places = self._places(options.settings(self.given), source)
        found = planning.judged(source, selection, places, while_running=self.choice.while_running)
        output.print_rows(
            map(_row, found), format, columns=COLUMNS, wide=("backend", "pool", "notes"), nothing="no volumes"
        )
        return 0

    def plan(self, source: Source, selection: Selection, file: str, claims: str) -> int:
        """Write a plan. Returns 1 if problems prevent it."""
        from csi_cinderlib.adoption.openstack import known, planning
        from csi_cinderlib.adoption.openstack.plan import written
        from csi_cinderlib.conversion.writing import write

        settings = self._settings()
        places = self._places(settings, source)
        with adopt_target.looked_at(settings) as store:
            stored = known.read(store)
        judged = list(
            planning.judged(
                source, selection, places, stored, again=self.choice.again, while_running=self.choice.while_running
            )
        )
        _check_mapping(places, judged)
        plan = planning.make(source, selection, places, _names(settings), judged, stored, again=self.choice.again)
        problems = [Problem(_labelled(id), "; ".join(reasons)) for id, reasons in plan.refused.items()]
        if not _may_go_on(problems, plan.volumes, "no plan written", skip=self.choice.skip_problems, remedy=_SKIP):
            return 1
        manifests = _manifests(plan, claims)
        write({Path(file): written(plan)})
        left_out = f"; {len(plan.refused)} left out" if plan.refused else ""
        output.print_text(f"{file}: {_counted(plan.volumes)} of {source.release}{left_out}", sys.stderr)
        _print(manifests)
        return 0

    def apply(self, plan: Plan, url: str, claims: str) -> int:
        """Carry a plan out. Returns 1 if something has changed since it was made."""
        from csi_cinderlib.adoption.openstack import applying, known, planning
        from csi_cinderlib.adoption.openstack.places import planned

        settings, manifests = self._settings(), _manifests(plan, claims)
        _check_names(plan, _names(settings))

        def compared() -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
            # Anew each time: a back end may be drained or deleted while the records are written. Then it counts these records.
            places = planned(plan.backends, None if self.choice.into else adopt_target.backends(settings))
            source = read(url, None)
            _check_database(plan, source)
            return planning.compare(plan, source, places, _names(settings), while_running=self.choice.while_running)

        if done := self._completed(settings, plan):
            return self._finish(settings, plan, done, compared, claims)
        records, problems = compared()
        with progress.shown("comparing with the store"), adopt_target.looked_at(settings) as store:
            stored = known.read(store)
            problems += applying.obstacles(stored, plan, records)
        left = f"the records of an interrupted run stay; undo it with --rollback {plan.name}"
        if not _may_go_on(problems, plan.volumes, left if stored.marks.is_unfinished(plan.name) else "nothing written"):
            return 1
        with progress.shown("adopting") as shown, adopt_target.opened(settings, self.choice.into) as store:
            problems = applying.carry_out(store, plan, records, compared, plan.database, shown)
        if not _may_go_on(problems, plan.volumes, "nothing adopted: all records were removed again"):
            return 1
        output.print_text(f"adopted: {_counted(plan.volumes)}, verified", sys.stderr)
        _print(manifests)
        return 0

    def _completed(self, settings: Settings, plan: Plan) -> str:
        """When the plan was carried out, or "". Raises InvalidRequest."""
        from csi_cinderlib.adoption import marks
        from csi_cinderlib.adoption.openstack import rollback

        with adopt_target.looked_at(settings) as store:
            if store is None:
                return ""
            if rollback.is_unfinished(store, plan.name):
                raise InvalidRequest(
                    "--apply", f"a rollback of this plan was interrupted; finish it with --rollback {plan.name}"
                )
            return marks.read(store).completed.get(plan.name, "")

    def _finish(self, settings: Settings, plan: Plan, done: str, compared: Recheck, claims: str) -> int:
        """Repeat the last steps of a killed run, if any. Returns 1 if Cinder has changed a volume that is not usable yet."""
        from csi_cinderlib.adoption.openstack import applying, known

        with adopt_target.looked_at(settings) as store:
            left = applying.unreleased(known.read(store), plan)
        if left:
            with adopt_target.opened(settings, self.choice.into) as store:
                problems = applying.finish(store, plan, compared)
            stay = f"{len(left)} volume of an interrupted run stay as they are; undo it with --rollback {plan.name}"
            if not _may_go_on(problems, plan.volumes, stay):
                return 1
        rest = f"{len(left)} volume became usable now" if left else "nothing to do"
        output.print_text(f"this plan was carried out at {done}; {rest}", sys.stderr)
        return self._print_present(settings, plan, claims)

    def _print_present(self, settings: Settings, plan: Plan, claims: str) -> int:
        """Report the volumes of a completed plan that are no longer there, and print the manifests of the others."""
        from csi_cinderlib.adoption.openstack import known

        with adopt_target.looked_at(settings) as store:
            stored = known.read(store)
        absent = [volume for volume in plan.volumes if volume.key not in stored.records]
        for volume in absent:
            output.print_text(
                f"note: volume {volume.id}: was returned or deleted since; make a new plan for it", sys.stderr
            )
        left = replace(plan, volumes=tuple(volume for volume in plan.volumes if volume not in absent))
        if left.volumes:
            _print(_manifests(left, claims))
        return 0

    def roll_back(self, name: str) -> int:
        """Undo the plan of that name. Returns 1 if a volume stays."""
        from csi_cinderlib.adoption.openstack import rollback

        settings = self._settings()
        with adopt_target.looked_at(settings) as store:
            if store is None:
                raise InvalidRequest("--rollback", "the metadata store does not exist")
            outlook, unfinished = rollback.look(store, name), rollback.is_unfinished(store, name)
        if not outlook.is_known:
            raise InvalidRequest(
                "--rollback", f"the store has nothing of plan {name}: it was never applied, or was undone"
            )
        if outlook.missing:
            output.print_text(f"note: {outlook.missing} records of the plan are gone: deleted since", sys.stderr)
        _print_problems(outlook.problems)
        if outlook.problems and not self.choice.skip_problems:
            output.print_text(f"nothing rolled back; remove the causes{_SKIP}", sys.stderr)
            if unfinished:
                with adopt_target.opened(settings, self.choice.into) as store:
                    rollback.put_back(store, name)
            return 1
        with adopt_target.opened(settings, self.choice.into) as store:
            removed, problems = rollback.carry_out(store, name, outlook)
        _print_problems(problems)
        output.print_text(f"rolled back: {_counted(removed)}; nothing on the array was touched", sys.stderr)
        return int(bool(problems))

    def _settings(self) -> Settings:
        return adopt_target.settings(self.given, self.choice.into)

    def _places(self, settings: Settings, source: Source) -> Places:
        from csi_cinderlib.adoption.openstack import places

        into = bool(self.choice.into)
        given = places.parse(self.choice.mapping, None if into else adopt_target.backends(settings))
        return replace(given, hosts=source.places, pools={} if into else adopt_target.pools(settings))


def read(url: str, selection: Selection | None) -> Source:
    from csi_cinderlib.adoption.openstack import source
    from csi_cinderlib.adoption.openstack.selection import check_ids

    with progress.shown("reading the database"):
        found = source.read(url, selection.ids if selection else ())
    if selection:
        check_ids(selection, found)
    return found


def _row(item: Judged) -> dict[str, Any]:
    entry, volume = item.entry, item.adopted.volume if item.adopted else None
    return {
        "id": entry.id,
        "name": entry.name,
        "project": entry.project,
        "type": entry.type_name,
        "host": entry.host,
        "gib": entry.row.get("size"),
        "status": entry.status,
        "snapshots": len(entry.snapshots),
        "adoptable": not item.refused,
        "reason": "; ".join(item.refused),
        "backend": volume.backend if volume else "",
        "pool": volume.pool if volume else "",
        "notes": list(item.notes),
    }


def _names(settings: Settings) -> Names:
    from csi_cinderlib.adoption.openstack.records import SNAPSHOT_TEMPLATE, VOLUME_TEMPLATE, Names

    given = settings.cinder_defaults
    return Names(
        str(given.get("volume_name_template") or VOLUME_TEMPLATE),
        str(given.get("snapshot_name_template") or SNAPSHOT_TEMPLATE),
    )


def _check_mapping(places: Places, judged: Iterable[Judged]) -> None:
    from csi_cinderlib.adoption.openstack.places import OPTION, unused

    if absent := unused(places, {item.entry.host for item in judged}):
        raise InvalidRequest(OPTION, f"no selected volume is at {', '.join(absent)}")


def _check_names(plan: Plan, names: Names) -> None:
    """Raises InvalidRequest if the objects would be looked for under other names than those in the plan."""
    for option, template in names.given.items():
        if plan.templates.get(option) != template:
            raise InvalidRequest(
                "--apply",
                f"the plan was made with {option} {plan.templates.get(option)!r}, and the configuration has {template!r}; "
                "use the configuration of the plan, or make a new plan",
            )


def _check_database(plan: Plan, source: Source) -> None:
    if source.shown != plan.database:
        raise InvalidRequest(
            "--url", f"the plan was made from {plan.database}, not from {source.shown}; use that, or make a new plan"
        )


def _labelled(id: str) -> str:
    """The key of a refusal: an id of a volume, or a table with the id of its row."""
    return id if " " in id else f"volume {id}"


def _may_go_on(
    problems: Collection[Problem],
    found: Collection[PlannedVolume],
    nothing: str,
    *,
    skip: bool = False,
    remedy: str = "",
) -> bool:
    """Report the problems, and whether to continue."""
    _print_problems(problems)
    if problems and not skip:
        output.print_text(f"{nothing}; remove the causes{remedy}", sys.stderr)
        return False
    if not found:
        output.print_text(f"{nothing}: no volume was selected, or all were left out", sys.stderr)
        return False
    return True


def _print_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        output.print_text(f"problem: {problem}", sys.stderr)


def _counted(volumes: Collection[PlannedVolume | Adopted]) -> str:
    snapshots = sum(len(volume.snapshots) for volume in volumes)
    return f"{len(volumes)} volume, {snapshots} snapshot"


def read_plan(file: str) -> Plan:
    from csi_cinderlib.adoption.openstack.plan import parsed

    return parsed(_text(file), file)


def name_of_plan(given: str) -> str:
    """The name of a plan, given by itself or by the file of the plan. Raises InvalidRequest."""
    from csi_cinderlib.adoption.openstack.plan import is_name, name_in

    return given if is_name(given) else name_in(_text(given), given)


def _manifests(plan: Plan, template: str) -> str:
    """The manifests, or "" without a template."""
    if not template:
        return ""
    from csi_cinderlib.adoption.openstack import claims

    return claims.text(claims.manifests(plan, _text(template)))


def _print(manifests: str) -> None:
    if manifests:
        output.print_text(manifests, end="")


def _text(file: str) -> str:
    try:
        return Path(file).read_bytes().decode()
    except OSError as error:
        raise InvalidRequest(file, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(file, "is not UTF-8") from None
