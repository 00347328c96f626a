"""What a store says after an older copy of it was restored, and may no longer be true."""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.persistence.optimistic import change


@dataclass(frozen=True, slots=True)
class Voided:
    """The number of changed records, and the ids of the records that cannot be read."""

    number: int
    unreadable: tuple[str, ...]


def void_marks(store: Store) -> Voided:
    """Let all volumes and snapshots count as possibly written to.

    What the copy says began empty, and was never formatted, may have been attached since, also as a raw device. No node formats it any more.
    """
    number, unreadable = 0, []
    for volume in walk_with_unreadable(store, Volume):
        if isinstance(volume, str):
            unreadable.append(volume)
        elif _void(volume) != volume:
            change(store, volume, _void)
            number += 1
    for snapshot in walk_with_unreadable(store, Snapshot):
        if isinstance(snapshot, str):
            unreadable.append(snapshot)
        elif snapshot.blank:
            change(store, snapshot, lambda current: replace(current, blank=False))
            number += 1
    return Voided(number, tuple(unreadable))


def _void(volume: Volume) -> Volume:
    return replace(volume, began_empty=False, blank=False, mark_void=True)
