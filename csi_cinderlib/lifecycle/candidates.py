"""Finds the object of an import among those that the driver lists. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from csi_cinderlib.backend.verbs import Manageable, is_name
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.model.records import Snapshot, Volume


def reference_of(listed: Sequence[Manageable] | None, record: Volume | Snapshot) -> Mapping[str, str]:
    """The driver's own reference to the object, if its list shows exactly one; else the requested one."""
    assert record.imported is not None, "the record of an import names its origin"
    wanted = record.imported.reference
    found = [item.reference for item in listed or () if _kinds(wanted) <= _kinds(item.reference)]
    return found[0] if found and all(other == found[0] for other in found) else wanted


def match(
    listed: Sequence[Manageable] | None, record: Volume | Snapshot, sources: Collection[str] | None, place: str
) -> Manageable | None:
    """The driver's entry for the object of a record; None if it lists nothing, or not this volume.

    Args:
        listed: None if the driver has no list.
        sources: the names and ids of the volume of a snapshot; None if it does not matter.
        place: what contains the object, if known.

    Raises:
        PreconditionFailed: the driver does not list the object as a snapshot of that volume, or lists several of the name.
    """
    assert record.imported is not None, "the record of an import names its origin"
    wanted = _kinds(record.imported.reference)
    same = [item for item in listed or () if wanted <= _kinds(item.reference) and _may_be(item.place, place)]
    if sources is not None and listed is not None:
        same = _of_volume(same, record, sources)
    if len(same) > 1:
        kinds = f"{noun(record)}s"
        raise PreconditionFailed(
            f"back end {record.backend!r} lists {len(same)} {kinds} named {record.imported.name!r}; name it by its id (--id)"
        )
    return same[0] if same else None


def _kinds(reference: Mapping[str, str]) -> set[tuple[bool, str]]:
    """Drivers use different keys for names, and for ids. A name is never compared with an id."""
    return {(is_name(key), value) for key, value in reference.items()}


def _may_be(place: str, other: str) -> bool:
    return not place or not other or place == other


def _of_volume(found: list[Manageable], record: Volume | Snapshot, sources: Collection[str]) -> list[Manageable]:
    """The entries whose source is the volume. A snapshot of another volume must never be reverted to or restored from."""
    assert isinstance(record, Snapshot)
    assert record.imported is not None
    own = [item for item in found if not set(item.source.values()).isdisjoint(sources)]
    if own:
        return own
    name = record.imported.name
    others = sorted({value for item in found for value in item.source.values()})
    what = (
        f"it is a snapshot of {', '.join(others)}"
        if others
        else "the driver does not list it as a snapshot of any volume"
    )
    raise PreconditionFailed(
        f"snapshot {name!r} on back end {record.backend!r} is not a snapshot of volume {record.volume_id!r}: {what}"
    )
