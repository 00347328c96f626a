"""Schema migration, at start and by `csi-cinderlib migrate`, in one process at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.sql.location import URL_KEY, Location
from csi_cinderlib.persistence.sql.schema import HEAD, METADATA, REVISIONS, VERSION_TABLE, VERSIONS

_IN_EACH_TABLE = frozenset({"id", "revision", "body"})
"""Columns of all our tables in all revisions of the schema."""
_LISTED = 3
"""Names of tables in a message."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """Schema revisions; `before` is "" for a new database."""

    before: str
    after: str


def version_of(connection: Connection) -> str:
    """The revision of the existing schema; "" if there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    return str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or "")  # noqa: S608


def bring_up_to_date(connection: Connection, location: Location) -> Migrated:
    """Run the missing migrations. The caller holds a lock against other processes and commits afterwards.

    Raises:
        ConfigurationError: the schema is newer than this program, or older and `migrate` is off, or the tables belong to another
            program.
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
    """Return the revision of a schema that is current or can be migrated. Raises the errors of `bring_up_to_date`."""
    before = version_of(connection)
    if before == HEAD:
        return before
    if before and before not in REVISIONS:
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} has schema {before!r} of a newer csi-cinderlib; supported: up to {HEAD!r}; "
            "upgrade csi-cinderlib, or restore a backup from before the upgrade",
        )
    if not before and (foreign := _foreign_tables(connection, location)):
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} contains tables of another program, possibly cinderlib or Cinder ({_listed(foreign)}); "
            "create a separate database for csi-cinderlib; `csi-cinderlib adopt cinderlib` copies cinderlib's metadata to it "
            "(docs/how-to/migrate-from-cinderlib.md#bring-the-metadata-along), and `csi-cinderlib adopt cinder` takes over volumes of "
            "OpenStack Cinder (docs/how-to/adopt-cinder-volumes.md#before-you-begin)",
        )
    if not location.migrate:
        raise ConfigurationError(
            URL_KEY,
            f"{location.shown} has {f'schema {before!r}' if before else 'no schema'} and needs {HEAD!r}; "
            "run `csi-cinderlib migrate`, or set store.options.migrate to true",
        )
    return before


def check_readable(connection: Connection, location: Location) -> None:
    """Raises ConfigurationError unless the schema is current. Changes nothing."""
    if not version_of(connection) and not _foreign_tables(connection, location):
        raise ConfigurationError(URL_KEY, f"{location.shown} contains no csi-cinderlib metadata")
    check_version(connection, replace(location, migrate=False))


def _foreign_tables(connection: Connection, location: Location) -> list[str]:
    """Tables of other programs: in a file all of them; on a server those with the name of one of ours, because databases are shared."""
    inspector = inspect(connection)
    names = set(inspector.get_table_names())
    ours = METADATA.tables.keys() & names
    foreign = [
        name
        for name in sorted(ours)
        if _IN_EACH_TABLE.difference(column["name"] for column in inspector.get_columns(name))
    ]
    return [*foreign, *sorted(names - ours)] if location.is_file else foreign


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join([*names[:_LISTED], *([f"and {more} more"] if more > 0 else [])])


def _create(connection: Connection) -> None:
    """Create all tables in an empty database without Alembic, whose import takes 0.3 s. A test compares the result with the migrations."""
    METADATA.create_all(connection)
    VERSIONS.create(connection)
    connection.execute(VERSIONS.insert(), {"version_num": HEAD})


def upgrade(connection: Connection) -> None:
    """Run the missing migrations, even after an interrupted run."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, "head")
