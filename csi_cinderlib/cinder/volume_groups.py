"""Cinder's queries for groups and group snapshots. Imports Cinder late, after `runtime` has prepared it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from csi_cinderlib.cinder import rows
from csi_cinderlib.cinder.rows import Row, matching
from csi_cinderlib.cinder.work import Routes
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import Group, GroupSnapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of, walk


def find_group(routes: Routes, id: str) -> Row:
    from cinder import exception

    try:
        work, group = routes.record(Group, id)
    except NotFound:
        raise exception.GroupNotFound(group_id=id) from None
    return _row(work.store, group)


def find_groups(routes: Routes, filters: Mapping[str, Any] | None) -> list[Row]:
    """The groups of a host, a back end or a pool, depending on the filter `host`; newest first."""
    wanted = dict(filters or {})
    host = str(wanted.pop("host", ""))
    found = [
        _row(route.store, group)
        for route in (routes.of_host(host) if host else routes.all())
        for group in walk(route.store, Group, {"backend": route.backend})
        if "#" not in host or group.host == host
    ]
    return _newest_first(matching(found, wanted))


def find_group_snapshots(routes: Routes, group_id: str, filters: Mapping[str, Any] | None) -> list[Row]:
    """The snapshots of a group, newest first."""
    try:
        work, group = routes.record(Group, group_id)
    except NotFound:
        return []
    taken = walk(work.store, GroupSnapshot, {"backend": group.backend})
    found = [rows.group_snapshot_row(snapshot) for snapshot in taken if snapshot.group_id == group_id]
    return _newest_first(matching(found, filters))


def _row(store: Store, group: Group) -> Row:
    members = all_of(store, Volume, {"group_id": group.id})
    return rows.group_row(group, [member.id for member in members if rows.served_type(member) is not None])


def _newest_first(found: Iterable[Row]) -> list[Row]:
    """Cinder's default order."""
    return sorted(found, key=lambda row: (str(row.created_at), row.id), reverse=True)
