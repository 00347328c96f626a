"""Acknowledged writes survive a kill of the program, and of the server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.history import Event, check_survival, live
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.contract.worker import events_in, process

WRITERS = [f"w{number}" for number in range(4)]
ANSWERS = 200
"""Number of answers to wait for before the kill."""


def wait_until_back(store: Store, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            store.page(Volume, limit=1)
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store did not come back"
            time.sleep(0.1)
        else:
            return


class TestCrashes:
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("round", range(3))
    def test_acknowledged_writes_survive_a_kill_of_the_program(self, persistence_harness: Harness, round: int) -> None:
        store = persistence_harness.open()
        if not store.traits.durable:
            pytest.skip(f"{persistence_harness.plugin} is not durable")
        persistence_harness.close(store)
        with process(persistence_harness, WRITERS) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            lines = [child.stdout.readline() for _ in range(ANSWERS + 37 * round)]
            child.kill()
            # Not communicate(): it bypasses the buffer, which may contain lines.
            rest, errors = child.stdout.read(), child.stderr.read()
        assert lines[-1], errors
        store = persistence_harness.open()
        assert check_survival(store, events_in("".join(lines) + rest)) >= len(WRITERS)
        persistence_harness.close(store)

    @pytest.mark.timeout(600)
    def test_acknowledged_writes_survive_a_kill_of_the_server(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        events: list[Event] = []
        stop = threading.Event()

        def write(writer: str) -> None:
            with suppress(StoreUnavailable):
                live(store, writer, events.append, stop)

        with ThreadPoolExecutor(len(WRITERS)) as pool:
            writers = [pool.submit(write, writer) for writer in WRITERS]
            while len(events) < ANSWERS and not all(writer.done() for writer in writers):
                time.sleep(0.01)
            try:
                persistence_harness.kill_server()
                answered = len(events)
            finally:
                stop.set()
        persistence_harness.start_server()
        for writer in writers:
            writer.result()
        assert answered >= ANSWERS
        wait_until_back(store, persistence_harness.patience)
        check_survival(store, events)
        persistence_harness.close(store)

    @pytest.mark.timeout(600)
    def test_a_killed_server_is_reported_as_unavailable_and_used_again_after_a_restart(
        self, persistence_harness: Harness
    ) -> None:
        store = persistence_harness.open()
        stored = store.add(volume("0001"))
        persistence_harness.kill_server()
        try:
            with pytest.raises(StoreUnavailable):
                store.get(Volume, "0001")
            with pytest.raises(StoreUnavailable):
                store.add(volume("0002"))
        finally:
            persistence_harness.start_server()
        wait_until_back(store, persistence_harness.patience)
        assert store.get(Volume, "0001") == stored
        assert store.replace(stored).revision != stored.revision
        persistence_harness.close(store)
