"""What a store says after an older copy of it was restored, and may no longer be true."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.lifecycle import restoring
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import KeyValue, Modification, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.persistence.optimistic import change


@dataclass(frozen=True, slots=True)
class Voided:
    """The number of changed records, and the ids of the records that cannot be read."""

    number: int
    unreadable: tuple[str, ...]


def void_marks(store: Store) -> Voided:
    """Let all volumes and snapshots count as possibly written to, and no back end as empty until an operator has compared the arrays.

    What the copy says began empty, and was never formatted, may have been attached since, also as a raw device. No node formats it any more, and
    what was adopted from an OpenStack Cinder is not given back.
    """
    with suppress(AlreadyExists):
        store.add(KeyValue(id=restoring.KEY, value=times.stamp(times.utc_now())))
    number, unreadable = 0, []
    kinds: Any = (Volume, Snapshot)
    for kind in kinds:
        for record in walk_with_unreadable(store, kind):
            if isinstance(record, str):
                unreadable.append(record)
            elif _void(record) != record:
                change(store, record, _void)
                number += 1
    return Voided(number, tuple(unreadable))


def _void(record: Any) -> Any:
    void = {item.name: item.default for item in fields(record) if "void_in_copy" in item.metadata}
    return replace(record, **void, **({"mark_void": True} if isinstance(record, Volume) else {}))


def void_types(store: Store) -> int:
    """Let the properties of all volumes count as unproven, and return the number of changed records.

    A volume may have got another VolumeAttributesClass since. Its next modification then sets all parameters, instead of finding that it has
    them. A modification that was unfinished in the copy has ended since: to finish it now could set values of a former class.
    """
    number = 0
    for volume in walk_with_unreadable(store, Volume):
        if not isinstance(volume, str) and _unproven(volume) != volume:
            change(store, volume, _unproven)
            number += 1
    return number


def _unproven(volume: Volume) -> Volume:
    if volume.status not in (Status.AVAILABLE, Status.EXTENDING):
        return volume
    kept = Modification(
        origin=volume.type,
        wanted=volume.type,
        mutable_parameters=volume.mutable_parameters,
        detached=volume.modification is not None and volume.modification.detached,
    )
    return replace(volume, modification=kept)
