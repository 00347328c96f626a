"""Compares what is there with what must be there, once nothing is under way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import loops
from tests.torture.bed import Bed, mounts_below
from tests.torture.truth import ATTACHED, PUBLISHED, STAGED


@dataclass
class World:
    """Either what must be there, or what is.

    Attributes:
        objects: of the back end: size in GiB by name.
        records: "status size" by the same names.
        attached: ids of volumes that have a record of an attachment.
        staged: ids of volumes that have a stage record.
        loops: names of the files that are on loop devices; one name for each device.
        mounts: mount points; one name for each mount.
    """

    objects: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    staged: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)


def check(bed: Bed) -> list[str]:
    """All that is wrong. Contents of volumes are compared by their clients (`data.verify`)."""
    return [*compare(expected(bed), observe(bed)), *bed.missing_bystanders(), *bed.problems()]


def awaits_clean_up(bed: Bed) -> bool:
    """Whether a kill left the record of a deleted volume to the clean-up: it came after the removal of the last snapshot's."""
    wanted, found = expected(bed).records, observe(bed).records
    return any(record.startswith("deleted ") for name, record in found.items() if name not in wanted)


def expected(bed: Bed) -> World:
    """From what was asked and answered."""
    volumes = [volume for volume in bed.truth.existing() if volume.id]
    outlived = {f"volume-{volume.id}": f"deleted {volume.size}" for volume in volumes if volume.is_gone}
    sizes = {f"volume-{volume.id}": volume.size for volume in volumes if not volume.is_gone}
    sizes |= {f"snapshot-{snapshot.id}": snapshot.size for snapshot in bed.truth.snapshots()}
    staged = [volume for volume in volumes if volume.level >= STAGED]
    return World(
        objects=sizes,
        records={**{name: f"available {size}" for name, size in sizes.items()}, **outlived},
        attached=[volume.id for volume in volumes if volume.level >= ATTACHED],
        staged=[volume.id for volume in staged],
        loops=[bed.backing_name(f"volume-{volume.id}") for volume in staged],
        mounts=[
            *bed.own_mounts(),
            *(str(bed.staging(volume.name)) for volume in staged if volume.kind != "block"),
            *(str(bed.target(volume.name)) for volume in volumes if volume.level == PUBLISHED),
        ],
    )


def observe(bed: Bed) -> World:
    """From the back end, the store, the node's files and the kernel."""
    own = bed.own_loops()
    database = bed.state / "controller" / "metadata.db"
    return World(
        objects=bed.objects(),
        records=_records(database),
        attached=[id for (id,) in _query(database, "SELECT volume_id FROM attachments")],
        staged=[path.stem for path in (bed.state / "node" / "stage").iterdir()],
        loops=[Path(path).name for path in loops.below(str(bed.root)).values() if path not in own],
        mounts=mounts_below(bed.root),
    )


def compare(wanted: World, found: World) -> Iterator[str]:
    """Each difference, in one sentence."""
    yield from _differences("object", wanted.objects, found.objects)
    yield from _differences("record", wanted.records, found.records)
    yield from _surplus("attachment of", wanted.attached, found.attached)
    yield from _surplus("stage record of", wanted.staged, found.staged)
    yield from _surplus("loop device on", wanted.loops, found.loops)
    yield from _surplus("mount at", wanted.mounts, found.mounts)


def _differences(what: str, wanted: Mapping[str, object], found: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        if name not in found:
            yield f"missing {what} {name} ({wanted[name]})"
        elif name not in wanted:
            yield f"unexpected {what} {name} ({found[name]})"
        elif wanted[name] != found[name]:
            yield f"{what} {name} is {found[name]}, not {wanted[name]}"


def _surplus(what: str, wanted: list[str], found: list[str]) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        number = found.count(name) - wanted.count(name)
        if number:
            yield f"{'unexpected' if number > 0 else 'missing'} {what} {name}"


def _records(database: Path) -> dict[str, str]:
    return {
        f"{kind}-{id}": f"{record['status']} {record['size']}{' modifying' if record.get('modification') else ''}"
        for kind in ("volume", "snapshot")
        for id, body in _query(database, f"SELECT id, body FROM {kind}s")
        for record in [json.loads(body)]
    }


def _query(database: Path, statement: str) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        return list(connection.execute(statement))
    finally:
        connection.close()
