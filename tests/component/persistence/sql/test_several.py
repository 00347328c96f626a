"""Writes that share a transaction of SQLite, and statements in it."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from csi_cinderlib.errors import AlreadyExists, NotFound, StaleRecord, StoreUnavailable
from csi_cinderlib.model.records import Attachment, KeyValue, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import INDEXED
from csi_cinderlib.persistence.contract.samples import attachment, snapshot, volume
from csi_cinderlib.persistence.sql import several
from csi_cinderlib.persistence.sql.location import locate
from csi_cinderlib.persistence.sql.schema import TABLES
from csi_cinderlib.persistence.sql.several import Part
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from csi_cinderlib.persistence.sql.store import SqlStore

Call = Callable[[], object]


@dataclass
class Gate:
    """A write that holds up all others until it is opened."""

    opened: threading.Event
    entered: threading.Event
    problem: BaseException | None = None
    begins: bool = False
    part: Part = Part("key_values", "gate")

    def run(self, connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(60)
        if self.problem:
            raise self.problem

    def is_done(self, connection: Connection) -> bool:
        return False


class Bed:
    def __init__(self, directory: Path) -> None:
        self.database = FileDatabase(locate({}, directory))
        self.store = SqlStore(self.database)
        self.file = directory / "metadata.db"

    @property
    def writer(self) -> Any:
        return self.database._writer.connection.driver_connection

    def write_at_once(self, *calls: Call) -> list[object]:
        """In one transaction, in this order; what each returned or raised."""
        gate = Gate(threading.Event(), threading.Event())
        with ThreadPoolExecutor(len(calls) + 1) as pool:
            blocking = pool.submit(self.database.write, gate)
            assert gate.entered.wait(60)
            pending: list[Future[object]] = []
            for call in calls:
                pending.append(pool.submit(call))
                self._wait_for(len(pending))
            gate.opened.set()
            blocking.result()
            return [done.exception() or done.result() for done in pending]

    def _wait_for(self, waiting: int) -> None:
        while len(self.database._commits._waiting) < waiting:
            threading.Event().wait(0.0005)

    @contextmanager
    def traced(self) -> Iterator[list[str]]:
        """The statements of the writing connection."""
        statements: list[str] = []
        self.writer.set_trace_callback(statements.append)
        yield statements
        self.writer.set_trace_callback(None)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path)
    yield bed
    bed.store.close()


def kinds(answers: Sequence[object]) -> list[type]:
    return [type(answer) for answer in answers]


def adding(bed: Bed, *ids: str) -> list[Call]:
    return [lambda id=id: bed.store.add(volume(id)) for id in ids]  # type: ignore[misc]  # bound now


def changing(bed: Bed, *records: Volume, **values: Any) -> list[Call]:
    return [lambda record=record: bed.store.replace(replace(record, **values)) for record in records]  # type: ignore[misc]


def test_new_records_of_many_callers_are_written_by_one_statement_and_changed_ones_by_another(bed: Bed) -> None:
    old = [bed.store.add(volume(f"old-{number}")) for number in range(10)]
    with bed.traced() as statements:
        answers = bed.write_at_once(
            *adding(bed, *(f"new-{number}" for number in range(10))), *changing(bed, *old, status=Status.DELETING)
        )
    assert [statement.split()[0] for statement in statements] == ["BEGIN", "INSERT", "UPDATE", "COMMIT"]
    assert {record.id: record for record in bed.store.page(Volume).records} == {
        answer.id: answer for answer in answers if isinstance(answer, Volume)
    }
    assert len(answers) == 20


def test_a_lone_write_is_one_statement(bed: Bed) -> None:
    with bed.traced() as statements:
        bed.store.replace(bed.store.add(volume("a")))
    assert [statement.split()[0] for statement in statements] == ["INSERT", "UPDATE"]


def test_an_id_that_is_taken_or_comes_twice_fails_its_own_callers_only(bed: Bed) -> None:
    bed.store.add(volume("taken", message="first"))
    with bed.traced() as statements:
        answers = bed.write_at_once(*adding(bed, "a", "taken", "b", "a", "c"))
    assert statements.count("COMMIT") == 1
    assert kinds(answers) == [Volume, AlreadyExists, Volume, AlreadyExists, Volume]
    assert [record.id for record in bed.store.page(Volume).records] == ["a", "b", "c", "taken"]
    assert bed.store.get(Volume, "taken").message == "first"


def test_a_record_that_was_changed_or_removed_meanwhile_fails_its_own_caller_only(bed: Bed) -> None:
    stale, gone, *good = (bed.store.add(volume(id)) for id in ("stale", "gone", "a", "b", "c"))
    current = bed.store.replace(replace(stale, message="current"))
    bed.store.remove(gone)
    answers = bed.write_at_once(*changing(bed, good[0], stale, good[1], gone, good[2], message="changed"))
    assert kinds(answers) == [Volume, StaleRecord, Volume, NotFound, Volume]
    assert bed.store.get(Volume, "stale") == current
    assert [bed.store.get(Volume, record.id) for record in good] == [answers[0], answers[2], answers[4]]


def test_what_belongs_to_no_volume_fails_its_own_caller_only(bed: Bed) -> None:
    bed.store.add(volume("v"))
    answers = bed.write_at_once(
        lambda: bed.store.add(snapshot("s1", of="v")),
        lambda: bed.store.add(snapshot("s2", of="absent")),
        lambda: bed.store.add(snapshot("s3", of="v")),
        lambda: bed.store.add(attachment("a1", of="absent")),
        lambda: bed.store.add(attachment("a2", of="v")),
    )
    assert kinds(answers) == [Snapshot, NotFound, Snapshot, NotFound, Attachment]


def test_of_two_changes_of_one_record_the_first_one_counts(bed: Bed) -> None:
    record, other = bed.store.add(volume("a")), bed.store.add(volume("b"))
    answers = bed.write_at_once(
        *changing(bed, record, message="first"),
        *changing(bed, record, message="second"),
        *changing(bed, other, message="other"),
    )
    assert kinds(answers) == [Volume, StaleRecord, Volume]
    assert bed.store.get(Volume, "a").message == "first"


def test_a_removal_and_a_change_of_one_record_keep_their_order(bed: Bed) -> None:
    first, second, third = (bed.store.add(volume(id)) for id in "abc")
    answers = bed.write_at_once(
        lambda: bed.store.remove(first),
        *changing(bed, first, second, third, message="changed"),
        lambda: bed.store.remove(second),
        lambda: bed.store.add(volume("a", message="again")),
    )
    assert kinds(answers) == [type(None), NotFound, Volume, Volume, StaleRecord, Volume]
    assert {record.id: record.message for record in bed.store.page(Volume).records} == {
        "a": "again",
        "b": "changed",
        "c": "changed",
    }


def test_a_change_of_an_indexed_column_is_found_by_it(bed: Bed) -> None:
    records = [bed.store.add(volume(id)) for id in "abc"]
    answers = bed.write_at_once(
        *changing(bed, records[0], message="x"),
        *changing(bed, records[1], name="renamed"),
        *changing(bed, records[2], message="x"),
    )
    assert kinds(answers) == [Volume] * 3
    assert bed.store.page(Volume, where={"name": "renamed"}).records == (answers[1],)


def test_hundreds_of_waiting_writes_need_no_more_parameters_than_an_old_sqlite_takes(bed: Bed) -> None:
    bed.writer.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    parent = bed.store.add(volume("v"))
    numbers = range(250)
    calls = [lambda number=number: bed.store.add(snapshot(f"s{number:03}", of=parent.id)) for number in numbers]
    with bed.traced() as statements:
        added = bed.write_at_once(*calls)
    assert [statement.split()[0] for statement in statements] == ["BEGIN", *["INSERT"] * 3, "COMMIT"]
    with bed.traced() as statements:
        changed = bed.write_at_once(*changing(bed, *added, message="changed"))  # type: ignore[arg-type]  # as if volumes
    assert [statement.split()[0] for statement in statements] == ["BEGIN", *["UPDATE"] * 3, "COMMIT"]
    assert bed.store.page(Snapshot, limit=300).records == tuple(changed)


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_a_shared_change_finds_each_record_by_an_index(bed: Bed, kind: Any) -> None:
    table = TABLES[kind]
    columns = [name for name in INDEXED[kind] if name != "status"]
    statement = several.update(table, ["revision", "body"], ["id", "revision", *columns])
    assert statement is not None
    with bed.traced() as statements:
        values = dict.fromkeys(statement._names, "x")
        statement.run(bed.database._writer, [Part(table.name, "x", values=values)] * 2)
    assert [text.split()[0] for text in statements] == ["UPDATE", "SELECT"], (
        "the second one finds out which were changed"
    )
    for text in statements:
        plan = [row[3] for row in bed.writer.execute(f"EXPLAIN QUERY PLAN {text}")]
        assert [step for step in plan if step.startswith(f"SEARCH {table.name} USING")]
        assert not [step for step in plan if step.startswith(f"SCAN {table.name}")]


def test_what_an_interrupt_left_open_is_not_committed_with_the_next_write(bed: Bed) -> None:
    for calls in (adding(bed, "a"), adding(bed, "b", "c")):
        bed.writer.execute("BEGIN IMMEDIATE")
        bed.writer.execute("INSERT INTO key_values (id, revision, body) VALUES ('interrupted', '1', '{}')")
        assert set(kinds(bed.write_at_once(*calls) if len(calls) > 1 else [calls[0]()])) == {Volume}
    with closing(sqlite3.connect(bed.file)) as other:
        assert other.execute("SELECT count(*) FROM key_values").fetchone() == (0,)
        assert other.execute("SELECT id FROM volumes ORDER BY id").fetchall() == [("a",), ("b",), ("c",)]


def test_an_interrupt_in_a_shared_transaction_leaves_nothing_of_it(bed: Bed) -> None:
    interrupted = Gate(threading.Event(), threading.Event(), KeyboardInterrupt())
    interrupted.opened.set()
    answers = bed.write_at_once(*adding(bed, "a", "b"), lambda: bed.database.write(interrupted))
    assert kinds(answers) == [KeyboardInterrupt, StoreUnavailable, StoreUnavailable]
    assert not bed.writer.in_transaction
    bed.store.add(volume("c"))
    assert [record.id for record in bed.store.page(Volume).records] == ["c"]


@pytest.mark.parametrize("ids", ["a", "ab"])
def test_while_a_backup_locks_the_file_each_write_fails_and_is_not_made_up_for_later(bed: Bed, ids: str) -> None:
    bed.writer.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(bed.file, isolation_level=None)) as backup:
        backup.execute("BEGIN IMMEDIATE")
        assert set(kinds(bed.write_at_once(*(_caught(call) for call in adding(bed, *ids))))) == {StoreUnavailable}
        backup.execute("ROLLBACK")
    bed.store.add(volume("c"))
    assert [record.id for record in bed.store.page(Volume).records] == ["c"]


def _caught(call: Call) -> Call:
    def run() -> object:
        try:
            return call()
        except StoreUnavailable as error:
            return error

    return run


def test_a_full_disk_fails_each_write_and_spoils_nothing(bed: Bed) -> None:
    bed.store.add(volume("kept"))
    size = max(path.stat().st_size for path in bed.file.parent.iterdir() if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = [lambda id=id: bed.store.add(volume(id, fields={"blob": "x" * 100_000})) for id in "abc"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, hard))
    try:
        answers = bed.write_at_once(*map(_caught, big))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kinds(answers) == [StoreUnavailable] * 3
    bed.store.add(volume("next"))
    assert [record.id for record in bed.store.page(Volume).records] == ["kept", "next"]


@pytest.mark.parametrize(("version", "has_it"), [((3, 32, 3), False), ((3, 33, 0), True), ((3, 40, 1), True)])
def test_changes_share_a_statement_where_sqlite_has_update_from(version: tuple[int, ...], has_it: bool) -> None:
    assert (several.update(TABLES[Volume], ["body"], ["id"], version=version) is not None) == has_it


def test_changes_that_share_no_statement_are_written_one_by_one(bed: Bed) -> None:
    records = [bed.store.add(KeyValue(id=id, value="x")) for id in "abc"]
    with bed.traced() as statements:
        bed.write_at_once(*(lambda record=record: bed.store.remove(record) for record in records))
    assert [statement.split()[0] for statement in statements] == ["BEGIN", *["DELETE"] * 3, "COMMIT"]
