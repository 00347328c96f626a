"""Checks and messages that all stores share."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.errors import InUse, InvalidRequest
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence.api import INDEXED, Where


def check_query(kind: type[Record], limit: int, where: Where) -> None:
    """Raises InvalidRequest if `where` contains a field that is not indexed, or the limit is less than 1."""
    if limit < 1:
        raise InvalidRequest("limit", f"must be at least 1 (got {limit})")
    for name in where:
        if name not in INDEXED[kind]:
            choices = ", ".join(INDEXED[kind]) or "none"
            raise InvalidRequest(f"where.{name}", f"unsupported filter for {kind.__name__}; supported: {choices}")


def wanted(where: Where) -> Mapping[str, tuple[str, ...]]:
    """The accepted values of each field, as plain text."""
    return {
        name: (str(value),) if isinstance(value, str) else tuple(dict.fromkeys(map(str, value)))
        for name, value in where.items()
    }


def has_snapshots(volume_id: str, count: int) -> InUse:
    """The error for removing a volume that has snapshots."""
    return InUse(f"volume {volume_id!r} has {count} snapshot{'' if count == 1 else 's'}; delete them first")
