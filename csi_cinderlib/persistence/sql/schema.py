"""The tables: one per kind of record, with key columns next to the body, and a composite index (column, id) for each filter.

With the composite index, a page of 100 records has the same cost at any position. With an index on the column alone, the database would
sort the whole result for each page.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, ForeignKey, Index, MetaData, PrimaryKeyConstraint, String, Table

from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    InitiatorData,
    KeyValue,
    Node,
    Record,
    Snapshot,
    Volume,
)
from csi_cinderlib.persistence.api import INDEXED
from csi_cinderlib.persistence.codec import MAX_KEY_BYTES
from csi_cinderlib.persistence.sql.types import Key, body_type

REVISIONS = ("0001",)
"""Revisions of the schema, oldest first, as in `migrations/versions`."""

HEAD = REVISIONS[-1]
VERSION_TABLE = "csi_cinderlib_schema"

NAMES: Mapping[type[Record], str] = {
    Volume: "volumes",
    Snapshot: "snapshots",
    Attachment: "attachments",
    Group: "volume_groups",
    GroupSnapshot: "group_snapshots",
    InitiatorData: "initiator_data",
    KeyValue: "key_values",
    Node: "nodes",
}

ON_DELETE: Mapping[type[Record], str] = {Snapshot: "RESTRICT", Attachment: "CASCADE"}
"""The effect of removing the volume of `volume_id` on these records."""

METADATA = MetaData()


def _table(kind: type[Record]) -> Table:
    name = NAMES[kind]
    columns: list[Column[str]] = [
        Column("id", Key(MAX_KEY_BYTES), primary_key=True),
        Column("revision", Key(40), nullable=False),
    ]
    indexes = []
    for field in INDEXED[kind]:
        belongs = field == "volume_id" and kind in ON_DELETE
        target = (ForeignKey("volumes.id", name=f"fk_{name}_volume", ondelete=ON_DELETE[kind]),) if belongs else ()
        columns.append(Column(field, Key(MAX_KEY_BYTES), *target, nullable=False))
        indexes.append(Index(f"ix_{name}_{field}", field, "id"))
    columns.append(Column("body", body_type(), nullable=False))
    return Table(name, METADATA, *columns, *indexes, mysql_engine="InnoDB", mysql_default_charset="utf8mb4")


TABLES: Mapping[type[Record], Table] = {kind: _table(kind) for kind in NAMES}

VERSIONS = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
"""The table of revisions as Alembic creates it."""
