"""Bringing a database's schema up to date: at start and by `csi-cinderlib migrate`, by one process at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.sql.location import URL_KEY, Location
from csi_cinderlib.persistence.sql.schema import HEAD, METADATA, REVISIONS, VERSION_TABLE, VERSIONS

_IN_EACH_TABLE = frozenset({"id", "revision", "body"})
"""Columns of each of our tables in every revision of the schema."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """Schema revisions; `before` is "" for a new database."""

    before: str
    after: str


def version_of(connection: Connection) -> str:
    """The revision of the schema that is there, "" if there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")  # noqa: S608


def bring_up_to_date(connection: Connection, location: Location) -> Migrated:
    """Run the missing migrations. The caller holds a lock against other processes and commits afterwards.

    Raises:
        ConfigurationError: the schema is of a newer program, or is older and `migrate` is off, or the tables are another program's.
    """
    before = check_version(connection, location)
    if before == HEAD:
        return Migrated(before, HEAD)
    if inspect(connection).get_table_names():
        upgrade(connection)
    else:
        _create(connection)
    return Migrated(before, HEAD)


def check_version(connection: Connection, location: Location) -> str:
    """The revision of the schema that is there, when it is, or can be brought to, ours. Raises what `bring_up_to_date` does."""
    before = version_of(connection)
    if before == HEAD:
        return before
    if before and before not in REVISIONS:
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} has schema {before!r}, made by a newer csi-cinderlib; this program knows schemas up to {HEAD!r}: "
            "upgrade this program, or restore a backup made before the upgrade",
        )
    if not before and (foreign := _foreign_tables(connection)):
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} holds tables of another program ({', '.join(foreign)}: cinderlib's or Cinder's?): give csi-cinderlib "
            "a database of its own; docs/how-to/migrate-from-cinderlib.md says how cinderlib's metadata comes along",
        )
    if not location.migrate:
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} has {f'schema {before!r}' if before else 'no schema'} and this program needs {HEAD!r}: "
            "run `csi-cinderlib migrate`, or set store.options.migrate to true",
        )
    return before


def check_readable(connection: Connection, location: Location) -> None:
    """That the schema is ours as it is. Raises ConfigurationError; changes nothing."""
    if not version_of(connection) and not _foreign_tables(connection):
        raise ConfigurationError(URL_KEY, f"{location.shown} holds no metadata of csi-cinderlib")
    check_version(connection, replace(location, migrate=False))


def _foreign_tables(connection: Connection) -> list[str]:
    """Those that have the name of one of ours and are none: a database may be shared, a table may not."""
    inspector = inspect(connection)
    return [
        name
        for name in sorted(METADATA.tables.keys() & set(inspector.get_table_names()))
        if _IN_EACH_TABLE.difference(column["name"] for column in inspector.get_columns(name))
    ]


def _create(connection: Connection) -> None:
    """All tables in an empty database: what the migrations come to (a test compares), without Alembic, which takes 0.3 s to import."""
    METADATA.create_all(connection)
    VERSIONS.create(connection)
    connection.execute(VERSIONS.insert(), {"version_num": HEAD})


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, from whatever is there: also what a killed run left."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, "head")
