"""`csi-cinderlib orphans`: lists, repairs or forgets work that interrupted calls left unfinished."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import get, opening, options, output
from csi_cinderlib.errors import DriverError, InvalidRequest, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings

Row = Mapping[str, Any]
_ORDER = ("attachment", "snapshot", "group snapshot", "volume")
"""Order of repair: a volume's dependents come before the volume."""


@click.group()
def command() -> None:
    """Group of the commands below."""


command.add_command(get.listing_command("orphans"), "list")


@command.command(
    short_help="Repair unfinished work.",
    help="Finish or undo unfinished work, through the running driver or, if none runs, in this process. Objects that the driver may "
    "not have created are not touched. ID is an id or the beginning of one.",
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Repair everything in the list.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.configuration
def fix(given: options.Given, ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool) -> int:
    """Return 0 if all selected orphans are repaired. Raises InvalidRequest: an id is not in the list."""
    if bool(ids) == everything:
        raise InvalidRequest("ID", "name one or more ids, or use --all")
    settings = options.settings(given)
    with opening.reading(settings) as store:
        listed = list(get.rows("orphans", settings, store, get.no_filter()))
    chosen = listed if everything else [_find(listed, id) for id in ids]
    if not chosen:
        output.print_text("no orphans", sys.stderr)
        return 0
    for row in chosen:
        output.print_text(
            f"{row['kind']} {row['id']} ({row['reason']}): {row['fix'] or 'not repaired. ' + row['instead']}"
        )
    if dry_run:
        return 0
    wanted = [row for row in chosen if row["fix"]]
    if wanted and not (yes or _confirmed(len(wanted))):
        output.print_text("nothing done", sys.stderr)
        return 1
    failed = bool(wanted) and _fix(settings, sorted(wanted, key=lambda row: _ORDER.index(row["kind"])))
    return int(failed or (not everything and len(wanted) < len(chosen)))


def _find(listed: Sequence[Row], id: str) -> Row:
    from csi_cinderlib.commands.describe import one_of

    if not id:  # as the beginning of every id, it would select a single orphan
        raise InvalidRequest("ID", "must not be empty")
    return one_of([row for row in listed if row["id"].startswith(id)], "orphan", id)


def _confirmed(count: int) -> bool:
    """Ask for confirmation, on a terminal only."""
    if not sys.stdin.isatty():
        return True
    return click.confirm(f"Repair {count} orphans?", err=True)


def _fix(settings: Settings, rows: Sequence[Row]) -> bool:
    """Repair the rows. Returns whether a repair failed."""
    from csi_cinderlib.commands import repairs

    failed = False
    with repairs.opened(settings, {row["backend"] for row in rows}) as repair:
        for row in rows:
            try:
                problem = repair(row["id"])
            except DriverError as error:
                problem = str(error)
            failed |= bool(problem)
            output.print_text(
                f"{row['kind']} {row['id']}: {f'not repaired: {problem}' if problem else 'repaired'}", flush=True
            )
    return failed


@command.command(
    short_help="Forget a failed object.",
    help="Forget the failed object ID. Check the array first: only the record is removed. With --modification, only the unfinished "
    "modification of volume ID is forgotten: the array must have the former properties. The ID `restored` confirms that all arrays were compared "
    "with restored metadata.",
)
@click.argument("id")
@click.option("--modification", is_flag=True, help="Forget only the unfinished modification of the volume.")
@options.configuration
def forget(given: options.Given, id: str, modification: bool) -> int:
    """Raises InvalidRequest or PreconditionFailed: there is nothing to forget."""
    from csi_cinderlib.commands import repairs, running

    drop = repairs.forget_modification if modification else repairs.forget
    try:
        forgotten = drop(options.settings(given), id)
    except (NotFound, running.NotAccepted) as error:
        if isinstance(error, running.NotAccepted) and error.status != 404:
            raise
        which = "no volume has this id" if modification else "no failed record and no leftover has this id"
        raise InvalidRequest(f"orphan {id!r}", f"{which}; give a complete id of `csi-cinderlib get orphans`") from error
    for what in forgotten:
        output.print_text(f"forgotten: {what}")
    return 0


@command.command(
    short_help="Exclude the unfinished work of restored metadata from repair.",
    help="After a restore of older metadata, exclude unfinished work from repair. Run it before a controller starts.",
)
@options.configuration
def restored(given: options.Given) -> int:
    """Return 0, even if there is no unfinished work; 1 if a record cannot be read. Raises PreconditionFailed: a controller runs; its work is unfinished too."""
    from csi_cinderlib.commands import repairs

    settings = options.settings(given)
    if repairs.controller_runs(settings):
        raise PreconditionFailed(f"a controller is running with state directory {settings.state_dir}; stop it first")
    with repairs.records(settings) as orphans:
        for marked in orphans.leave_alone():
            output.print_text(f"excluded from repair: {marked}")
        voided = orphans.void_marks()
        if voided.number:
            output.print_text(f"no longer known to be empty: {voided.number} volumes and snapshots")
        if types := orphans.void_types():
            output.print_text(f"no longer known to have the properties of their records: {types} volumes")
        for id in voided.unreadable:
            output.print_text(f"cannot be read, and was not changed: record {id!r}")
    output.print_text("no back end counts as empty until `csi-cinderlib orphans forget restored`")
    return 1 if voided.unreadable else 0
