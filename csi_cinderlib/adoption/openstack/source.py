"""Reads the tables of a Cinder database, in one read-only transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from csi_cinderlib.adoption import mapping, tables
from csi_cinderlib.adoption.openstack import releases
from csi_cinderlib.adoption.openstack.columns import TABLES, WITHOUT_MARK
from csi_cinderlib.adoption.openstack.releases import Release
from csi_cinderlib.adoption.rows import KEY_VALUES, Row, Tables
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model import times
from csi_cinderlib.persistence.sql.location import Location

PROGRAM = "OpenStack Cinder"
_ALIVE = "deleted IS NULL OR NOT deleted"
_VOLUME_SERVICE = "cinder-volume"
DOWN_AFTER = timedelta(minutes=5)
"""A service that has not reported for this time is not running. Cinder's `service_down_time` is one minute by default."""
_CLOCKS = {
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    "postgresql": "SELECT now() AT TIME ZONE 'utc'",
}


@dataclass(frozen=True, slots=True)
class Source:
    """The content of a database.

    Attributes:
        tables: the rows that are not deleted.
        deleted: those of the given ids that are volumes marked as deleted.
        running: `host@backend` of the cinder-volume services that have reported lately.
        shown: the database for people, without a password.
    """

    tables: Tables = field(repr=False)
    release: Release
    shown: str
    deleted: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()

    @property
    def places(self) -> frozenset[str]:
        """Every `host@backend` of the database, with or without a volume."""
        services = (row.get("host") for row in self.tables["services"] if row.get("binary") == _VOLUME_SERVICE)
        volumes = (row.get("host") for row in self.tables["volumes"])
        return frozenset(str(host).partition("#")[0] for host in (*services, *volumes) if host)


def read(url: str, ids: Collection[str] = ()) -> Source:
    """The content of the database at a URL. The source is not changed: see `tables.opened`.

    Args:
        url: as `connection` in Cinder's section [database].
        ids: volumes about which the result must tell whether they are deleted.

    Raises:
        ConfigurationError: it is not a database of Cinder, its release is unknown, or it cannot be read.
        StoreUnavailable: the server cannot be reached, or the file was changed meanwhile.
    """
    with tables.opened(url) as (connection, location):
        return _source(connection, location, ids)


def _source(connection: Connection, location: Location, ids: Collection[str]) -> Source:
    names = tables.names(connection)
    if KEY_VALUES in names:
        raise ConfigurationError(
            tables.KEY, f"{location.shown} is a database of cinderlib; use `csi-cinderlib adopt cinderlib`"
        )
    tables.check_tables(names, TABLES, location, PROGRAM)
    release = releases.identify(location.shown, _revisions(connection, names), _numbers(connection, names))
    found = {
        name: tables.rows(
            connection, location, name, required=columns, program=PROGRAM, where="" if name in WITHOUT_MARK else _ALIVE
        )
        for name, columns in TABLES.items()
    }
    running = _running(found["services"], _now(connection))
    return Source(found, release, location.shown, _deleted(connection, ids), running)


def _now(connection: Connection) -> datetime:
    """The earlier of the clocks of this machine and of the server, by which more services count as running."""
    own = times.utc_now()
    query = _CLOCKS.get(connection.dialect.name)
    if query is None:
        return own
    stamp = mapping.moment(connection.execute(text(query)).scalar())
    return min(own, times.parse(stamp)) if stamp else own


def _running(services: Collection[Row], now: datetime) -> frozenset[str]:
    """As Cinder's `service_is_up`, with a longer time. The sign `disabled` only keeps new volumes away from a service."""
    return frozenset(
        str(row.get("host"))
        for row in services
        if row.get("binary") == _VOLUME_SERVICE and _is_recent(row.get("updated_at") or row.get("created_at"), now)
    )


def _is_recent(moment: object, now: datetime) -> bool:
    stamp = mapping.moment(moment)
    return bool(stamp) and now - times.parse(stamp) < DOWN_AFTER


def _revisions(connection: Connection, names: Collection[str]) -> tuple[str, ...]:
    if "alembic_version" not in names:
        return ()
    return tuple(str(row[0]) for row in connection.execute(text("SELECT version_num FROM alembic_version")))


def _numbers(connection: Connection, names: Collection[str]) -> tuple[int, ...]:
    if "migrate_version" not in names:
        return ()
    query = text("SELECT version FROM migrate_version WHERE repository_id = 'cinder'")
    return tuple(int(row[0]) for row in connection.execute(query))


def _deleted(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    if not ids:
        return frozenset()
    query = text("SELECT id FROM volumes WHERE deleted AND id IN :ids").bindparams(bindparam("ids", expanding=True))
    return frozenset(str(row[0]) for row in connection.execute(query, {"ids": sorted(ids)}))
