"""How many calls a back end may have under way, beside others."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from csi_cinderlib.backend.bulkhead import FEWEST, RESERVED, Bulkhead, room
from csi_cinderlib.errors import OperationPending


def test_one_back_end_alone_has_all_threads_but_the_reserved_ones() -> None:
    assert room({}, "a", back_ends=1, threads=256, releases=True) == 256 - RESERVED


def test_the_idle_ones_keep_their_part_whatever_one_does() -> None:
    part = (256 - RESERVED) // 20
    most = room({"a": 10}, "a", back_ends=10, threads=256, releases=True)
    assert most == 256 - RESERVED - 9 * part
    assert room({"a": most}, "b", back_ends=10, threads=256, releases=True) == part


@pytest.mark.parametrize("busy", [{}, {"a": 200}, {"a": 30, "b": 90, "c": 120}])
@pytest.mark.parametrize("back_ends", [4, 16, 300])
def test_some_room_is_left_for_detaching_and_for_every_back_end(busy: dict[str, int], back_ends: int) -> None:
    releasing = room(busy, "d", back_ends=back_ends, threads=256, releases=True)
    others = room(busy, "d", back_ends=back_ends, threads=256, releases=False)
    assert FEWEST <= others + FEWEST // 4 <= releasing


def test_calls_that_create_and_others_do_not_count_for_each_other() -> None:
    bulkhead = Bulkhead(RESERVED + 16, lambda: 1)
    with ExitStack() as running:
        for _ in range(16):
            running.enter_context(bulkhead.entered("slow", creates=True))
        for _ in range(14):
            running.enter_context(bulkhead.entered("slow"))
        with pytest.raises(OperationPending):
            running.enter_context(bulkhead.entered("slow", creates=True))


def test_calls_beyond_the_room_are_refused_and_counted_out_when_they_end() -> None:
    bulkhead = Bulkhead(RESERVED + 16, lambda: 2)
    with ExitStack() as running:
        with pytest.raises(OperationPending, match="back end 'slow' is busy: 11 calls in progress"):
            for _ in range(100):
                running.enter_context(bulkhead.entered("slow"))
        running.enter_context(bulkhead.entered("slow", releases=True))
        running.enter_context(bulkhead.entered("quick"))
    for _ in range(100):
        with bulkhead.entered("slow"):
            pass
