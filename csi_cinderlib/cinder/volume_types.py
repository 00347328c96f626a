"""Cinder's queries for volume types and QoS specs: each volume has its own type, with the volume's id.

Raises the exceptions of Cinder's database. Imports Cinder late, after `runtime` has prepared it.
"""

from __future__ import annotations

import itertools
from typing import Any

from csi_cinderlib.cinder import rows
from csi_cinderlib.cinder.rows import Row
from csi_cinderlib.cinder.work import Routes
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.iteration import walk


def find_type(routes: Routes, id: str) -> Row:
    from cinder import exception

    volume = _carrier(routes, id)
    if volume is None or (row := rows.type_row(volume)) is None:
        raise exception.VolumeTypeNotFound(volume_type_id=id)
    return row


def find_type_by_name(routes: Routes, name: str) -> Row:
    """A type without a name is found by its volume's id, a named one through the current work."""
    from cinder import exception

    if name == rows.DEFAULT_TYPE:
        return rows.default_type_row()
    for work in routes.works():
        for volume in work.volumes.values():
            row = rows.type_row(volume)
            if row is not None and row["name"] == name:
                return row
    raise exception.VolumeTypeNotFoundByName(volume_type_name=name)


def find_qos(routes: Routes, id: str) -> Row:
    """QoS specs by their content's id: of a volume of the current work, else of any volume."""
    from cinder import exception

    works = routes.works()
    volumes = itertools.chain(
        *(list(work.volumes.values()) for work in works), *(walk(work.store, Volume) for work in works)
    )
    found = (row for volume in volumes if (row := rows.qos_row(volume)) is not None and row["id"] == id)
    row = next(found, None)
    if row is None:
        raise exception.QoSSpecsNotFound(specs_id=id)
    return row


def qos_of(kind: Row) -> dict[str, Any] | None:
    """The QoS specs of a type as Cinder's database returns them with a type; drivers iterate over their difference."""
    qos = kind["qos_specs"]
    return qos and {name: qos[name] for name in ("id", "name", "consumer", "specs", "created_at")}


def _carrier(routes: Routes, id: str) -> Volume | None:
    try:
        return routes.volume(id)[1]
    except NotFound:
        return None
