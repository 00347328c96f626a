"""What the store asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from csi_cinderlib.persistence.sql.several import Part

T = TypeVar("T")


class Write(Protocol):
    """One write: a single changing statement, so that it is done whole or not at all.

    Attributes:
        begins: it begins something new, and so waits for room where the disk is full. All others go on.
        part: the same write as one of several.
    """

    @property
    def begins(self) -> bool: ...

    @property
    def part(self) -> Part: ...

    def run(self, connection: Connection, /) -> None:
        """Raises the store's errors only when nothing was changed."""

    def is_done(self, connection: Connection, /) -> bool:
        """Whether an earlier `run`, whose answer got lost, was carried out."""


class Database(Protocol):
    """Thread-safe. Raises StoreUnavailable."""

    shared: bool

    def read(self, work: Callable[[Connection], T], /) -> T: ...

    def write(self, work: Write, /) -> None:
        """Returns once it is durable."""

    def close(self) -> None: ...
