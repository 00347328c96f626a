"""Volume types with their extra specs and QoS specs, from Cinder's tables. Pure.

cinderlib gives each volume a type of its own with the id of the volume. Its versions up to 5.2 damage two links, which are restored here:

* When a volume is saved again, for example by `connect`, it gets the default type. Its own type is left in the tables.
* The QoS specs get the id of the volume after they were stored, and their values still refer to the former id. They were stored
  between the creation and the change of the QoS specs' own row, by which they are found again.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.adoption import mapping
from csi_cinderlib.model.records import VolumeType

Row = Mapping[str, Any]

_HEAD, _CONSUMER = "QoS_Specs_Name", "consumer"
_RESTORED = "its volume type is restored, which the source had replaced by the default type"
_LOST = "its QoS specs are lost, because their values cannot be told from those of other volumes"


@dataclass(slots=True)
class Types:
    """The types of a source.

    Attributes:
        lost: ids of QoS specs whose values are missing, or cannot be told from those of another volume.
    """

    extra: Mapping[str, Mapping[str, str]]
    qos_of: Mapping[str, str]
    qos: Mapping[str, Mapping[str, str]]
    known: frozenset[str]
    lost: frozenset[str]

    @classmethod
    def of(cls, types: Iterable[Row], extra_specs: Iterable[Row], qos_specs: Iterable[Row]) -> Types:
        """From the rows of `volume_types`, `volume_type_extra_specs` and `quality_of_service_specs`."""
        alive = {str(row["id"]): row for row in types if not row.get("deleted")}
        qos, lost = _qos([row for row in qos_specs if not row.get("deleted")])
        return cls(
            extra=_by(extra_specs, "volume_type_id"),
            qos_of={id: str(row["qos_specs_id"]) for id, row in alive.items() if row.get("qos_specs_id")},
            qos=qos,
            known=frozenset(alive),
            lost=lost,
        )

    def find(self, volume: Row) -> tuple[VolumeType | None, tuple[str, ...]]:
        """The type of a volume, and notes about what the source had lost, as clauses."""
        id, given = str(volume["id"]), str(volume.get("volume_type_id") or "")
        own = id if id in self.known else ""
        chosen = own or given
        qos_id = self.qos_of.get(chosen) or (id if id in self.qos or id in self.lost else "")
        extra, qos = dict(self.extra.get(chosen, {})), dict(self.qos.get(qos_id, {}))
        consumer = qos.pop(_CONSUMER, "back-end")
        notes: tuple[str, ...] = (_RESTORED,) if own and given != own else ()
        notes += (_LOST,) if qos_id in self.lost else ()
        if not extra and not qos:
            return None, notes
        return VolumeType(extra_specs=extra, qos_specs=qos, qos_consumer=consumer), notes


def pairs(rows: Iterable[Row], owner: str) -> dict[str, dict[str, str]]:
    """Metadata by the id in the column `owner`; deleted rows are left out."""
    return _by(rows, owner)


def _by(rows: Iterable[Row], owner: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        if not row.get("deleted") and row.get(owner):
            found[str(row[owner])][str(row["key"])] = "" if row["value"] is None else str(row["value"])
    return dict(found)


def _qos(rows: list[Row]) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
    """The values of QoS specs by id, and the ids whose values cannot be found."""
    heads = [row for row in rows if row["key"] == _HEAD]
    values = [row for row in rows if row["key"] != _HEAD and row.get("specs_id")]
    found = _by(values, "specs_id")
    stray = _spans(values, known={str(row["id"]) for row in heads})
    lost = set()
    for head in heads:
        if (id := str(head["id"])) in found:
            continue
        fitting = _fitting(stray, head)
        if len(fitting) == 1:
            found[id] = found[fitting[0]]
        else:
            lost.add(id)
    return found, frozenset(lost)


def _spans(values: Iterable[Row], known: Collection[str]) -> list[tuple[str, str, str]]:
    """When the values of each missing QoS specs were stored: first, last, and the id, in order of time."""
    times: dict[str, list[str]] = defaultdict(list)
    for row in values:
        if (id := str(row["specs_id"])) not in known:
            times[id].append(mapping.moment(row.get("created_at")))
    return sorted((min(those), max(those), id) for id, those in times.items() if all(those))


def _fitting(spans: Sequence[tuple[str, str, str]], head: Row) -> list[str]:
    """The missing QoS specs whose values were stored between the creation of this row and the change of its id."""
    begin, end = mapping.moment(head.get("created_at")), mapping.moment(head.get("updated_at"))
    start = bisect_left(spans, (begin, "", ""))
    following = itertools.takewhile(lambda span: span[0] <= end, itertools.islice(spans, start, None))
    return [id for _, last, id in following if begin and last <= end]
