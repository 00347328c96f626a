"""The interface between the store and a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from csi_cinderlib.persistence.sql.several import Part

T = TypeVar("T")


class Write(Protocol):
    """An atomic write: a single changing statement.

    Attributes:
        begins: it starts a new operation, which is refused if the disk is full. Other writes can use the reserve.
        part: the same write as part of a batch.
    """

    @property
    def begins(self) -> bool: ...

    @property
    def part(self) -> Part: ...

    def run(self, connection: Connection, /) -> None:
        """Raises errors of the store protocol only if nothing was changed."""

    def is_done(self, connection: Connection, /) -> bool:
        """Whether an earlier `run` with a lost answer has succeeded."""


class Database(Protocol):
    """A database. Thread-safe; methods raise StoreUnavailable."""

    shared: bool

    def read(self, work: Callable[[Connection], T], /) -> T: ...

    def write(self, work: Write, /) -> None:
        """Carry out a write. Returns when it is durable."""

    def close(self) -> None: ...
