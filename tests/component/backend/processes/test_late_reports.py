"""What placement is told of a back end whose driver answers late when it is asked for its report, or not at all."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.backend.stats import Candidate, Pool
from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.size import GiB
from tests.component.backend.processes.conftest import VOLUME, Make, wait_for

AFTER_THE_START = 3
"""The first call of `get_volume_stats` that is not part of the set-up."""
CANDIDATE = Candidate(size=GiB(1))
PATIENCE = 0.05


def pool(backend: RemoteBackend) -> Pool:
    (found,) = backend.stats().pools
    return found


def test_what_was_created_since_a_late_report_was_asked_for_is_still_counted(make: Make) -> None:
    backend = make(nothing_faults=[f"get_volume_stats:{AFTER_THE_START}=slow"])
    stats, _ = backend.ask_rated_stats(CANDIDATE)(PATIENCE)
    backend.create_volume(replace(VOLUME, pool=stats.pools[0].name))  # so that no report is asked for
    time.sleep(2.5)  # the report comes, of an array without volumes
    assert pool(backend).provisioned == 1
    assert pool(backend).provisioned == 1


def test_a_process_that_ended_before_it_reported_does_not_speak_for_the_next_one(make: Make) -> None:
    backend = make(nothing_faults=[f"get_volume_stats:{AFTER_THE_START}=hang"])
    backend.ask_rated_stats(CANDIDATE)(PATIENCE)
    backend.kill()
    wait_for(lambda: not backend.ready)
    backend.start()
    assert backend.ask_rated_stats(CANDIDATE)(PATIENCE)[0].pools
    assert backend.problem == ""


def test_the_report_of_a_start_has_what_was_created_before(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make()
    backend.create_volume(VOLUME)
    backend.kill()
    wait_for(lambda: not backend.ready)
    backend.start()
    monkeypatch.setattr(backend._reports, "_seconds", 60.0)
    assert pool(backend).provisioned == 1


def test_room_is_kept_back_on_the_disk_from_the_start(make: Make, tmp_path: Path) -> None:
    make()
    assert list((tmp_path / "cinder" / "reserve").iterdir())


def test_a_report_that_does_not_come_in_time_is_an_error_to_whom_the_last_one_does_not_do(make: Make) -> None:
    backend = make(nothing_faults=[f"get_volume_stats:{AFTER_THE_START}=hang"])
    with pytest.raises(BackendUnavailable, match="the driver did not report in time"):
        backend.stats(within=0.5)
    assert backend.ready
