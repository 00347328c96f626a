"""cinderlib's database plugins as classes. `{"storage": DBPersistence, "connection": URL}` is `{"storage": "db", ...}`."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase


class DBPersistence(PersistenceDriverBase):
    """Names the storage `db`, which the set-up opens. It has no objects of its own: use `Backend.persistence` after `setup`.

    Args:
        connection: the database URL.
        sqlite_synchronous, soft_deletes: without effect.
    """

    def __init__(self, connection: str, sqlite_synchronous: bool = True, soft_deletes: bool = False) -> None:
        self.soft_deletes = soft_deletes
        self.config: Mapping[str, object] = {
            "storage": "db",
            "connection": connection,
            "sqlite_synchronous": sqlite_synchronous,
            "soft_deletes": soft_deletes,
        }
        super().__init__()


class MemoryDBPersistence(DBPersistence):
    """Names the storage `memory_db`."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.config = {"storage": "memory_db"}
