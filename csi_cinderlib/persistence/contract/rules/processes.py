"""Several processes with the same store."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.history import check_contest
from csi_cinderlib.persistence.contract.worker import events_in, process

WRITERS = 8


class TestProcesses:
    @pytest.mark.timeout(1900)
    def test_two_processes_lose_no_update_and_create_no_duplicate(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        if not store.traits.shared:
            pytest.skip(f"{persistence_harness.plugin} supports one process only")
        ids = [f"{number:04}" for number in range(persistence_harness.volumes)]
        names = [f"writer-{number}" for number in range(WRITERS)]
        with ExitStack() as both:
            children = [both.enter_context(process(persistence_harness, half, ids)) for half in (names[:4], names[4:])]
            answers = [child.communicate(timeout=1800) for child in children]
        assert [child.returncode for child in children] == [0, 0], answers[0][1] + answers[1][1]
        check_contest(store, ids, [event for output, _ in answers for event in events_in(output)], WRITERS)
        persistence_harness.close(store)

    def test_a_store_for_one_process_refuses_a_second_process(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        if store.traits.shared or not store.traits.durable:
            pytest.skip(f"{persistence_harness.plugin} supports several processes, or is not durable")
        with pytest.raises(ConfigurationError, match="in use by another process"):
            persistence_harness.open()
        with process(persistence_harness, ["writer"], ["0001"]) as child:
            _, errors = child.communicate(timeout=200)
        assert child.returncode != 0
        assert "in use by another process" in errors
        persistence_harness.close(store)
        persistence_harness.close(persistence_harness.open())
