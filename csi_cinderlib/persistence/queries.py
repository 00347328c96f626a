"""What every store checks of a query, and how it words a refusal."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.errors import InUse, InvalidRequest
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence.api import INDEXED, Where


def check_query(kind: type[Record], limit: int, where: Where) -> None:
    """Raises InvalidRequest: `where` names a field that is not indexed, or the limit is less than 1."""
    if limit < 1:
        raise InvalidRequest("limit", f"must be at least 1, not {limit}")
    for name in where:
        if name not in INDEXED[kind]:
            choices = ", ".join(INDEXED[kind]) or "none"
            raise InvalidRequest(
                f"where.{name}", f"is not a field that a {kind.__name__} is found by; those are: {choices}"
            )


def wanted(where: Where) -> Mapping[str, tuple[str, ...]]:
    """Each field with the values that it may have; plain text, also for enumerations."""
    return {
        name: (str(value),) if isinstance(value, str) else tuple(dict.fromkeys(map(str, value)))
        for name, value in where.items()
    }


def has_snapshots(volume_id: str, count: int) -> InUse:
    """Why a volume cannot be removed."""
    return InUse(f"volume {volume_id!r} has {count} snapshot{'' if count == 1 else 's'}: delete them first")
