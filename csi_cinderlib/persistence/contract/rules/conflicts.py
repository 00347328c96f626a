"""Of two concurrent callers exactly one succeeds, and the other gets an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from csi_cinderlib.errors import AlreadyExists, DriverError, InUse, NotFound, StaleRecord
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.history import Event, check_contest, contend
from csi_cinderlib.persistence.contract.samples import snapshot, volume

THREADS = 8
LIVES = 10


def race(*calls: Callable[[], object]) -> list[object]:
    """Run the calls concurrently and return the result or error of each."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except DriverError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class TestConflicts:
    def test_each_write_gives_a_new_revision(self, persistence_store: Store) -> None:
        first = persistence_store.add(volume("0001"))
        second = persistence_store.replace(replace(first, message="changed"))
        third = persistence_store.replace(second)
        assert len({first.revision, second.revision, third.revision}) == 3
        assert persistence_store.get(Volume, "0001") == third

    def test_a_stale_record_changes_nothing(self, persistence_store: Store) -> None:
        old = persistence_store.add(volume("0001"))
        current = persistence_store.replace(replace(old, message="current"))
        for call in (persistence_store.replace, persistence_store.remove):
            with pytest.raises(StaleRecord, match="0001"):
                call(replace(old, message="stale"))
        assert persistence_store.get(Volume, "0001") == current

    def test_a_removed_record_cannot_be_replaced_or_removed(self, persistence_store: Store) -> None:
        gone = persistence_store.add(volume("0001"))
        persistence_store.remove(gone)
        for call in (persistence_store.replace, persistence_store.remove):
            with pytest.raises(NotFound, match="0001"):
                call(gone)
        assert not persistence_store.page(Volume).records

    def test_a_recreated_record_is_not_the_old_one(self, persistence_store: Store) -> None:
        old = persistence_store.add(volume("0001"))
        persistence_store.remove(old)
        new = persistence_store.add(volume("0001", message="new"))
        for call in (persistence_store.replace, persistence_store.remove):
            with pytest.raises(StaleRecord):
                call(old)
        assert persistence_store.get(Volume, "0001") == new

    @pytest.mark.parametrize("revision", ["", "nonsense", "1-0"])
    def test_a_made_up_revision_is_stale(self, persistence_store: Store, revision: str) -> None:
        stored = persistence_store.add(volume("0001"))
        with pytest.raises(StaleRecord):
            persistence_store.replace(replace(stored, revision=revision))
        assert persistence_store.get(Volume, "0001") == stored

    def test_only_one_of_many_concurrent_adds_succeeds(self, persistence_store: Store) -> None:
        for number in range(10):
            records = [volume(f"{number:04}", owner=str(writer)) for writer in range(THREADS)]
            answers = race(*(lambda record=record: persistence_store.add(record) for record in records))
            winners = [answer for answer in answers if isinstance(answer, Volume)]
            assert [type(answer) for answer in answers].count(AlreadyExists) == THREADS - 1, answers
            assert winners == [persistence_store.get(Volume, f"{number:04}")]

    def test_only_one_of_many_concurrent_replacements_succeeds(self, persistence_store: Store) -> None:
        current = persistence_store.add(volume("0001"))
        for _ in range(10):
            records = [replace(current, owner=str(writer)) for writer in range(THREADS)]
            answers = race(*(lambda record=record: persistence_store.replace(record) for record in records))
            winners = [answer for answer in answers if isinstance(answer, Volume)]
            assert [type(answer) for answer in answers].count(StaleRecord) == THREADS - 1, answers
            current = persistence_store.get(Volume, "0001")
            assert winners == [current]

    def test_only_one_of_many_concurrent_removals_succeeds(self, persistence_store: Store) -> None:
        for number in range(10):
            record = persistence_store.add(volume(f"{number:04}"))
            answers = race(*(lambda record=record: persistence_store.remove(record) for _ in range(THREADS)))
            assert answers.count(None) == 1, answers
            assert {type(answer) for answer in answers if answer is not None} == {NotFound}

    def test_concurrent_different_changes_succeed_or_fail_independently(self, persistence_store: Store) -> None:
        store = persistence_store
        calls: dict[str, Callable[[], object]] = {}
        outcomes: dict[str, type] = {}
        for life in range(LIVES):
            kept, changed, renamed, removed, parent = (
                store.add(volume(f"{name}-{life}")) for name in ("kept", "changed", "renamed", "removed", "parent")
            )
            store.add(snapshot(f"child-{life}", of=parent.id))
            gone = store.add(volume(f"gone-{life}"))
            store.remove(gone)
            current = store.replace(replace(kept, message="current"))
            for what, outcome, call in (
                ("add", Volume, lambda life=life: store.add(volume(f"new-{life}"))),
                ("add an existing id", AlreadyExists, lambda kept=kept: store.add(volume(kept.id))),
                ("add to a volume", Snapshot, lambda life=life, to=current.id: store.add(snapshot(f"s-{life}", of=to))),
                ("add to a missing volume", NotFound, lambda life=life: store.add(snapshot(f"t-{life}", of="absent"))),
                ("change", Volume, lambda it=changed: store.replace(replace(it, message="changed"))),
                ("rename", Volume, lambda it=renamed: store.replace(replace(it, name="renamed", message="changed"))),
                ("change a stale record", StaleRecord, lambda it=kept: store.replace(replace(it, message="stale"))),
                ("change a removed record", NotFound, lambda it=gone: store.replace(replace(it, message="back"))),
                ("remove", type(None), lambda it=removed: store.remove(it)),
                ("remove a stale record", StaleRecord, lambda it=kept: store.remove(it)),
                ("remove a removed record", NotFound, lambda it=gone: store.remove(it)),
                ("remove a volume with snapshots", InUse, lambda it=parent: store.remove(it)),
            ):
                calls[f"{what} ({life})"] = call
                outcomes[f"{what} ({life})"] = outcome
        answers = dict(zip(calls, race(*calls.values()), strict=True))
        assert {what: type(answer) for what, answer in answers.items()} == outcomes
        for answer in answers.values():
            if isinstance(answer, Volume):
                assert store.get(Volume, answer.id) == answer
            if isinstance(answer, Snapshot):
                assert store.get(Snapshot, answer.id) == answer
        messages = {record.id: record.message for record in store.page(Volume, limit=500).records}
        names = {"kept": "current", "changed": "changed", "renamed": "changed", "parent": "", "new": ""}
        assert messages == {f"{name}-{life}": text for name, text in names.items() for life in range(LIVES)}
        renamed_ids = {record.id for record in store.page(Volume, where={"name": "renamed"}).records}
        assert renamed_ids == {f"renamed-{life}" for life in range(LIVES)}

    def test_concurrent_threads_lose_no_update(self, persistence_harness: Harness, persistence_store: Store) -> None:
        ids = [f"{number:04}" for number in range(persistence_harness.volumes // 10)]
        events: list[Event] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [
                pool.submit(contend, persistence_store, f"thread-{writer}", ids, events.append)
                for writer in range(THREADS)
            ]:
                done.result()
        check_contest(persistence_store, ids, events, THREADS)
