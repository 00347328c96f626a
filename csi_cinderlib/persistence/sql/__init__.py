"""Records in a SQL database: an SQLite file for one process, or PostgreSQL, MySQL or MariaDB shared by several processes."""

from __future__ import annotations

from csi_cinderlib.persistence.sql.opening import look, migrate, open_store, read

__all__ = ["look", "migrate", "open_store", "read"]
