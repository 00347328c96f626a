"""Column types that mean the same in every database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import String, TypeDecorator, TypeEngine


class Key(TypeDecorator[str]):
    """Text that is compared and sorted by its code points: case and trailing blanks count, as in Python.

    MySQL's collations would ignore trailing blanks, so it gets the UTF-8 bytes.
    """

    impl = String
    cache_ok = True

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if in_bytes(dialect):
            return dialect.type_descriptor(mysql.VARBINARY(self._size))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return to_database(value, dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy gives it
        return None if value is None else str(from_database(value))


def in_bytes(dialect: Dialect) -> bool:
    """Whether that database holds keys as bytes."""
    return dialect.name in ("mysql", "mariadb")


def to_database(value: Any, dialect: Dialect) -> Any:
    """A Key as the driver takes it; what is no text stays."""
    return value.encode() if isinstance(value, str) and in_bytes(dialect) else value


def from_database(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def body_type() -> TypeEngine[Any]:
    """A record as ASCII text of any length."""
    return Text().with_variant(mysql.LONGTEXT(charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
