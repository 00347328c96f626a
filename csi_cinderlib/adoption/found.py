"""What a source contains, as records, with the problems of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from csi_cinderlib.errors import InvalidRequest, Problem
from csi_cinderlib.model.records import Attachment, InitiatorData, KeyValue, Record, Snapshot, Volume

T = TypeVar("T")


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

    def attempt(self, table: str, id: str, make: Callable[[], T]) -> T | None:
        """Return `make()`, or None with the problem noted if a value is wrong."""
        try:
            return make()
        except InvalidRequest as wrong:
            self.problems.append(Problem(f"{table} {id} {wrong.field}".rstrip(), wrong.problem))
            return None

    def note(self, record: Volume | Snapshot, clause: str) -> None:
        self.notes.setdefault(clause, []).append(f"{type(record).__name__.lower()} {record.id}")

    def note_messages(self) -> None:
        """Note the messages of volumes and snapshots, such as a former status."""
        records: list[Volume | Snapshot] = [*self.volumes.values(), *self.snapshots.values()]
        for record in records:
            if record.message:
                self.note(record, record.message)
