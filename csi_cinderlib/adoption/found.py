"""What a source contains, as records, with the problems of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from csi_cinderlib.errors import DriverError, InvalidRequest, Problem
from csi_cinderlib.model.records import Attachment, InitiatorData, KeyValue, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec

T = TypeVar("T")
R = TypeVar("R", bound=Record)


@dataclass(slots=True)
class Found:
    """The content of a source.

    Attributes:
        problems: rows that cannot become records, by table, id and column.
        notes: what an operator should know about adopted rows: a clause, and the rows that it applies to.
        deleted: rows that the source marks as deleted, by table; they are left out.
    """

    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    initiator_data: dict[str, InitiatorData] = field(default_factory=dict)
    key_values: dict[str, KeyValue] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    deleted: Counter[str] = field(default_factory=Counter)
    _doubtful: set[tuple[str, str]] = field(default_factory=set)

    def records(self) -> Iterator[Record]:
        """All records, in an order in which they can be added."""
        yield from self.volumes.values()
        yield from self.snapshots.values()
        yield from self.attachments.values()
        yield from self.initiator_data.values()
        yield from self.key_values.values()

    def backends(self) -> Counter[str]:
        """The number of volumes by back end."""
        return Counter(volume.backend for volume in self.volumes.values())

    def keep(self, table: str, id: str, into: dict[str, R], make: Callable[[], R]) -> R | None:
        """Add the record of `make()`, if any store can keep it and the source has no other one of this id."""

        def storable() -> R:
            record = make()
            codec.keys(record)
            codec.to_text(record).encode()
            return record

        record = self.attempt(table, id, storable)
        if record is None:
            return None
        known = into.setdefault(record.id, record)
        if known == record and (table, record.id) not in self._doubtful:
            return record
        self._doubtful.add((table, record.id))
        del into[record.id]
        self.problems.append(Problem(f"{table} {id}", f"the source has different ones with the id {record.id!r}"))
        return None

    def attempt(self, table: str, id: str, make: Callable[[], T]) -> T | None:
        """Return `make()`, or None with the problem noted if a value is wrong."""
        try:
            return make()
        except InvalidRequest as wrong:
            self.problems.append(Problem(f"{table} {id} {wrong.field}".rstrip(), wrong.problem))
        except DriverError as wrong:
            self.problems.append(Problem(f"{table} {id}", str(wrong)))
        except Exception as wrong:  # a value of an unforeseen form must not hide the other rows
            self.problems.append(
                Problem(f"{table} {id}", f"has a value of an unexpected form ({type(wrong).__name__})")
            )
        return None

    def note(self, record: Volume | Snapshot, clause: str) -> None:
        self.notes.setdefault(clause, []).append(f"{type(record).__name__.lower()} {record.id}")

    def note_messages(self) -> None:
        """Note the messages of volumes and snapshots, such as a former status."""
        records: list[Volume | Snapshot] = [*self.volumes.values(), *self.snapshots.values()]
        for record in records:
            if record.message:
                self.note(record, record.message)
