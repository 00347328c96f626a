"""The statuses that a stored volume or snapshot may get, by its present one. `making.replace` checks each change. Pure.

An object of another owner must not become usable by an operation that does not know about it. The statuses of imports and adoptions are
therefore left only by the operation that has set them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.records import Snapshot, Status, Volume

_ORDINARY = frozenset(
    {Status.CREATING, Status.AVAILABLE, Status.EXTENDING, Status.DELETING, Status.DELETED, Status.ERROR}
)
TRANSITIONS: Mapping[Status, Set[Status]] = MappingProxyType(
    {
        Status.CREATING: _ORDINARY,
        Status.AVAILABLE: _ORDINARY | {Status.UNMANAGING},
        Status.EXTENDING: _ORDINARY,
        Status.DELETING: _ORDINARY,
        Status.DELETED: frozenset(),
        Status.ERROR: _ORDINARY,
        Status.IMPORTING: frozenset({Status.AVAILABLE, Status.UNMANAGING}),
        Status.UNMANAGING: frozenset({Status.AVAILABLE, Status.IMPORTING}),
        Status.ADOPTING: frozenset(),
        Status.RETURNING: frozenset(),
        Status.RETURNED: frozenset(),
    }
)
"""For operations and imports."""
ADOPTION: Mapping[Status, Set[Status]] = MappingProxyType(
    {
        Status.ADOPTING: frozenset({Status.AVAILABLE, Status.RETURNED}),
        Status.AVAILABLE: frozenset({Status.RETURNING}),
        Status.RETURNING: frozenset({Status.AVAILABLE, Status.RETURNED}),
    }
)
"""For `csi-cinderlib adopt cinder`. A RETURNED record is only removed: no other run can make it usable again."""
USER: Mapping[Status, Set[Status]] = MappingProxyType(
    {
        Status.AVAILABLE: frozenset({Status.AVAILABLE}),
        Status.ERROR: frozenset({Status.AVAILABLE, Status.ERROR}),
    }
)
"""For users of the library, who may declare a failed object usable."""
RESTORED: Mapping[Status, Set[Status]] = MappingProxyType(
    {status: frozenset({Status.ERROR}) for status in Status if status is not Status.DELETED}
)
"""For what was not finished in a restored copy, or could be returned to Cinder. The owner of the object is not known, so it is not touched."""


def check(record: Any, status: Status, table: Mapping[Status, Set[Status]] = TRANSITIONS) -> None:
    """Raises PreconditionFailed unless a record may get the status. New records and other kinds may get any."""
    if not isinstance(record, Volume | Snapshot) or not record.revision or status is record.status:
        return
    if status not in table.get(record.status, ()):
        raise PreconditionFailed(
            f"{type(record).__name__.lower()} {record.id!r} is {record.status}, and cannot become {status}"
        )
