"""SELECTs that the driver's own cursor runs.

SQLAlchemy words a statement once and looks after the connections; to execute one by it takes as long as PostgreSQL takes to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.persistence.sql.types import from_database, in_bytes, to_database

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement as one dialect spells it.

    Attributes:
        order: the parameters' names where they go by position, else None.
        defaults: parameters that SQLAlchemy adds, an OFFSET of 0 say.
        in_bytes: keys come as bytes.
    """

    statement: str
    order: Sequence[str] | None
    defaults: Mapping[str, object]
    in_bytes: bool

    def parameters(self, values: Mapping[str, object]) -> Any:
        given = {**self.defaults, **values}
        return given if self.order is None else [given[name] for name in self.order]


class Query:
    """One SELECT of text columns."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Row]:
        """Raises DBAPIError, which also tells whether the connection broke."""
        dialect = connection.dialect
        text = self._texts.get(dialect.name) or self._word(dialect)
        parameters = text.parameters({name: to_database(value, dialect) for name, value in values.items()})
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text.statement, parameters)
            rows: Sequence[Row] = cursor.fetchall()
            return [tuple(map(from_database, row)) for row in rows] if text.in_bytes else rows
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor):
                raise DBAPIError(text.statement, None, error) from error
        finally:
            cursor.close()
        # SQLAlchemy meets the broken connection itself, and drops it and the pool's other ones.
        return connection.execute(self._statement, values).all()

    def _word(self, dialect: Dialect) -> _Text:
        compiled = self._statement.compile(dialect=dialect)
        defaults = {name: value for name, value in compiled.params.items() if value is not None}
        return self._texts.setdefault(
            dialect.name, _Text(str(compiled), compiled.positiontup, defaults, in_bytes(dialect))
        )
