"""The stand-in for eventlet, on native threads."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from csi_cinderlib.cinder import eventlet_standin
from csi_cinderlib.cinder.eventlet_standin import GreenPool, GreenThread, Pool
from csi_cinderlib.cinder.runtime import Runtime


def test_a_pool_makes_no_more_than_its_size_and_wakes_a_waiting_thread() -> None:
    """Real eventlet deadlocks here: the waiter and the giver are different native threads."""
    pool = Pool(max_size=1, create=object)
    first = pool.get()
    got: list[object] = []
    waiter = threading.Thread(target=lambda: got.append(pool.get()))
    waiter.start()
    while not pool.waiting():
        time.sleep(0.001)
    pool.put(first)
    waiter.join()
    assert got == [first]


def test_a_pool_is_filled_ahead_and_reused() -> None:
    made: list[int] = []
    pool = Pool(min_size=2, max_size=3, create=lambda: made.append(1) or len(made))  # type: ignore[func-returns-value]  # a counter
    with pool.item() as one:
        assert one == 1
    assert (len(made), pool.free()) == (2, 3)


def test_a_pool_as_a_stack_gives_the_last_one_back_first() -> None:
    pool = Pool(max_size=2, order_as_stack=True, create=object)
    one, two = pool.get(), pool.get()
    pool.put(one)
    pool.put(two)
    assert pool.get() is two


def test_an_item_that_cannot_be_made_leaves_room_for_the_next() -> None:
    pool = Pool(max_size=1, create=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pool.get()
    pool.create = object  # type: ignore[method-assign]  # a better maker
    assert pool.get()


def test_a_smaller_pool_lets_items_go() -> None:
    pool = Pool(max_size=2, create=object)
    one, two = pool.get(), pool.get()
    pool.resize(1)
    pool.put(one)
    pool.put(two)
    assert (pool.current_size, pool.free()) == (1, 1)


def test_a_green_thread_hands_over_its_result_or_its_error() -> None:
    assert GreenThread(lambda value: value + 1, 1).wait() == 2
    with pytest.raises(ZeroDivisionError):
        GreenThread(lambda: 1 / 0).wait()


def test_a_green_pool_runs_so_many_at_a_time() -> None:
    running, most, guard, both = [0], [0], threading.Lock(), threading.Barrier(2)

    def work() -> None:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(60)
        with guard:
            running[0] -= 1

    pool = GreenPool(2)
    for _ in range(6):
        pool.spawn_n(work)
    pool.waitall()
    assert most[0] == 2


def test_nobody_can_patch_threads_away() -> None:
    with pytest.raises(RuntimeError, match="native threads"):
        eventlet_standin.modules()["eventlet"].monkey_patch()


def test_cinder_runs_on_the_stand_in(runtime: Runtime) -> None:
    from cinder import ssh_utils

    assert sys.modules["eventlet"].__version__ == "0.0-native-threads"
    assert issubclass(ssh_utils.SSHPool, Pool)
