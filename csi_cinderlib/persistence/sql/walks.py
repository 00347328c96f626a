"""Pages of records: each with a query of its own, or several with one query."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, literal_column, select, union_all

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Page, R, Sealer, Where
from csi_cinderlib.persistence.queries import check_query, wanted
from csi_cinderlib.persistence.sql.query import Query, Row
from csi_cinderlib.persistence.sql.schema import TABLES

_Shape = tuple[type[Record], bool, tuple[tuple[str, int], ...]]
"""What the text of a query depends on: the kind, whether it is for one id, and the number of values of each filter."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The page of a kind after an id, or the record of an id.

    Attributes:
        filters: the accepted values of each field.
    """

    kind: type[Record]
    filters: Mapping[str, tuple[str, ...]]
    limit: int
    after: str = ""
    id: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether no record can match."""
        return () in self.filters.values()

    @property
    def shape(self) -> _Shape:
        return self.kind, bool(self.id), tuple((name, len(values)) for name, values in self.filters.items())

    def parameters(self, prefix: str = "") -> dict[str, object]:
        values: dict[str, object] = {f"{prefix}from": self.id or self.after, f"{prefix}most": self.limit + 1}
        for name, accepted in self.filters.items():
            values |= {_parameter(prefix, name, number): value for number, value in enumerate(accepted)}
        return values


def walk(kind: type[Record], where: Where, limit: int, *, after: str = "", id: str = "") -> Walk:
    """Raises InvalidRequest if a field of `where` is not indexed, or the limit is less than 1."""
    check_query(kind, limit, where)
    return Walk(kind, {name: _padded(values) for name, values in wanted(where).items()}, limit, after, id)


def rows(connection: Connection, walk: Walk) -> Sequence[Row]:
    """The id, revision and body of each record, and of the first one of the next page. Raises DBAPIError."""
    return () if walk.is_empty else _query(walk.shape).rows(connection, walk.parameters())


def rows_of_each(connection: Connection, walks: Sequence[Walk]) -> Sequence[Sequence[Row]]:
    """As `rows`, for several walks with one statement, which sees all of them in the same state. Raises DBAPIError."""
    parts: list[list[Row]] = [[] for _ in walks]
    asked = [(number, walk) for number, walk in enumerate(walks) if not walk.is_empty]
    values: dict[str, object] = {}
    for number, walk in asked:
        values |= walk.parameters(f"q{number}_")
    statement = _union(tuple((number, walk.shape) for number, walk in asked)) if asked else None
    for part, *row in statement.rows(connection, values) if statement else ():
        parts[int(part)].append(tuple(row))
    return [sorted(part) for part in parts]  # a union has no order


def page(kind: type[R], limit: int, rows: Sequence[Row], sealer: Sealer | None) -> Page[R]:
    records, corrupt = [], []
    for id, revision, body in rows[:limit]:
        try:
            records.append(codec.from_text(kind, body, id=id, revision=revision, sealer=sealer))
        except CorruptRecord:
            corrupt.append(id)
    return Page(tuple(records), rows[limit - 1][0] if len(rows) > limit else "", tuple(corrupt))


@functools.cache  # creating a query costs more than running it
def _query(shape: _Shape) -> Query:
    return Query(_select(shape, ""))


@functools.cache
def _union(shapes: tuple[tuple[int, _Shape], ...]) -> Query:
    parts = [
        _select(shape, f"q{number}_").add_columns(literal_column(str(number)).label("part")) for number, shape in shapes
    ]
    found = union_all(*parts).subquery()
    return Query(select(found.c.part, found.c.id, found.c.revision, found.c.body))


def _select(shape: _Shape, prefix: str) -> Select[Any]:
    kind, is_for_one, filters = shape
    table = TABLES[kind]
    first = bindparam(f"{prefix}from", type_=table.c.id.type)
    statement = select(table.c.id, table.c.revision, table.c.body)
    statement = statement.where(table.c.id == first if is_for_one else table.c.id > first)
    for name, count in filters:
        column = table.c[name]
        values: list[BindParameter[Any]] = [
            bindparam(_parameter(prefix, name, number), type_=column.type) for number in range(count)
        ]
        statement = statement.where(column.in_(values) if count > 1 else column == values[0])
    return statement.order_by(table.c.id).limit(bindparam(f"{prefix}most"))


def _parameter(prefix: str, name: str, number: int) -> str:
    return f"{prefix}where_{name}_{number}"


def _padded(values: tuple[str, ...]) -> tuple[str, ...]:
    """Pad to a power of two by repeating the last value, so that few statements cover any number of values."""
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values)) if values else ()
