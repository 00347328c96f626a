"""Whether the database's user may do what the store does, found out at start rather than in the middle of a volume's life."""

from __future__ import annotations

from sqlalchemy import Connection, false, select

from csi_cinderlib.persistence.sql.schema import TABLES


def check_rights(connection: Connection) -> None:
    """Do nothing to no row of each table, in every way. Raises DBAPIError where that is not allowed."""
    for table in TABLES.values():
        nothing = select(table).where(false())
        connection.execute(table.insert().from_select([*table.c.keys()], nothing))
        connection.execute(table.update().where(false()).values(revision=table.c.revision))
        connection.execute(table.delete().where(false()))
