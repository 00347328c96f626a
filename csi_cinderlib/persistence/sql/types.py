"""Column types with the same semantics in all databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import String, TypeDecorator, TypeEngine


class Key(TypeDecorator[str]):
    """Text that is compared and sorted by code points, as in Python: case and trailing blanks are significant.

    MySQL's collations ignore trailing blanks, so the UTF-8 bytes are stored there.
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

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002  # required by SQLAlchemy
        return None if value is None else str(from_database(value))


def in_bytes(dialect: Dialect) -> bool:
    """Whether the database stores keys as bytes."""
    return dialect.name in ("mysql", "mariadb")


def to_database(value: Any, dialect: Dialect) -> Any:
    """Convert a Key for the driver. Other types are unchanged."""
    return value.encode() if isinstance(value, str) and in_bytes(dialect) else value


def from_database(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def body_type() -> TypeEngine[Any]:
    """The column type of a record: ASCII text of any length."""
    return Text().with_variant(mysql.LONGTEXT(charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
