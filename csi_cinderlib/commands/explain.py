"""`csi-cinderlib explain NAMESPACE/CLAIM`: shows one volume from its claim to the mount, its faults, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import opening, options, output
from csi_cinderlib.commands.output import Kind

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.inspection.explaining import Sources
    from csi_cinderlib.inspection.observed import BackendState


@click.command(
    epilog="VOLUME is a claim as NAMESPACE/NAME, the name of a PersistentVolume, or a volume's id or the beginning of one."
)
@click.argument("volume")
@options.node_name
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format, volume: str) -> int:
    """Return 1 if there is a fault, 0 if there is none or work is in progress. Raises InvalidRequest: there is no such volume."""
    from csi_cinderlib.inspection import diagnosis, explaining
    from csi_cinderlib.model import times

    seen = explaining.observe(volume, _sources(options.settings(given)), times.utc_now())
    found = diagnosis.diagnose(seen)
    code = int(any(not item.waiting and item.code not in diagnosis.FINE for item in found))
    if format.kind in (Kind.JSON, Kind.YAML):
        output.print_object({**explaining.as_row(seen), "diagnoses": [asdict(item) for item in found]}, format)
        return code
    output.print_text(volume)
    for line in explaining.lines(explaining.branches(seen)):
        output.print_text(line)
    for part, why in seen.unseen.items():
        output.print_text(f"not examined: {part}: {why}")
    for item in found:
        output.print_text(f"\n{item.finding}\n  What to do: {item.next_step}")
    return code


def _sources(settings: Settings) -> Sources:
    from csi_cinderlib.inspection.cluster_view import ClusterView, is_expected, reach
    from csi_cinderlib.inspection.explaining import Sources

    @contextmanager
    def store() -> Iterator[Any]:
        with opening.reading(settings) as found, opening.registry(settings, found) as registry:
            yield found, registry

    return Sources(
        cluster=lambda: ClusterView(reach(settings)) if is_expected(settings) else None,
        store=store,
        backends=lambda found: _backends(settings, found),
        leftover=_leftover,
        state_dir=settings.state_dir,
        driver_name=settings.driver_name,
        node_name=settings.node_name,
    )


def _leftover(store: Any, id: str) -> str:
    from csi_cinderlib.commands.running_store import RunningStore
    from csi_cinderlib.inspection.explaining import leftover_in

    if not isinstance(store, RunningStore):
        return leftover_in(store, id)
    listed = (orphan for orphan in store.orphans() if orphan["status"] == "leftover" and orphan["id"] == id)
    return next((orphan["reason"] for orphan in listed), "")


def _backends(settings: Settings, store: Any) -> Iterator[BackendState]:
    from csi_cinderlib.commands import backend_rows
    from csi_cinderlib.inspection.observed import BackendState

    for row in backend_rows.rows(settings, store):
        free = row["free_gib"]
        yield BackendState(
            name=row["name"], state=row["state"], reason=row["reason"], free_gib=float(free) if free != "" else None
        )
