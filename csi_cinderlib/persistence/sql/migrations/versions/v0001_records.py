"""One table per kind of record.

Each step first checks whether it is already done: MySQL commits after each statement, so a killed run is partly applied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from csi_cinderlib.persistence.sql.types import Key, body_type

revision = "0001"
down_revision = None

KEY_BYTES = 1024
TABLES = {
    "volumes": ("backend", "name", "group_id", "status"),
    "snapshots": ("backend", "volume_id", "name", "group_snapshot_id", "status"),
    "attachments": ("backend", "volume_id", "node_id", "status"),
    "volume_groups": ("backend",),
    "group_snapshots": ("backend", "name", "status"),
    "initiator_data": ("initiator", "namespace"),
    "key_values": (),
    "nodes": (),
}
ON_DELETE = {"snapshots": "RESTRICT", "attachments": "CASCADE"}


def upgrade() -> None:
    for name, fields in TABLES.items():
        _create_table(name, fields)
        existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(name)}
        for field in fields:
            if f"ix_{name}_{field}" not in existing:
                op.create_index(f"ix_{name}_{field}", name, [field, "id"])


def _create_table(name: str, fields: tuple[str, ...]) -> None:
    columns: list[sa.Column[str]] = [
        sa.Column("id", Key(KEY_BYTES), primary_key=True),
        sa.Column("revision", Key(40), nullable=False),
    ]
    columns += [sa.Column(field, Key(KEY_BYTES), nullable=False) for field in fields]
    constraints = []
    if name in ON_DELETE:
        constraints.append(
            sa.ForeignKeyConstraint(["volume_id"], ["volumes.id"], name=f"fk_{name}_volume", ondelete=ON_DELETE[name])
        )
    op.create_table(
        name,
        *columns,
        sa.Column("body", body_type(), nullable=False),
        *constraints,
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_default_charset="utf8mb4",
    )
