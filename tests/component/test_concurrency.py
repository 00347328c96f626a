"""Locks by key: what excludes what, and that they are given back."""

from __future__ import annotations

import sys
import threading

import pytest

from csi_cinderlib.concurrency import Gate, KeyedLocks, without, without_eventlet
from csi_cinderlib.errors import OperationPending


def is_free(locks: KeyedLocks, *keys: str, shared: tuple[str, ...] = ()) -> bool:
    try:
        with locks.hold(*keys, shared=shared):
            return True
    except OperationPending:
        return False


def test_a_key_is_held_by_one_and_refused_to_others() -> None:
    locks = KeyedLocks()
    with locks.hold("a", "b"):
        assert not is_free(locks, "a")
        assert not is_free(locks, "b")
        assert not is_free(locks, shared=("a",))
        assert is_free(locks, "c", shared=("d",))
        assert not is_free(locks, "a"), "what others take and give back changes nothing"
    assert is_free(locks, "a", "b")


def test_a_shared_key_is_held_by_many_and_refused_to_one_who_wants_it_alone() -> None:
    locks = KeyedLocks()
    with locks.hold(shared=["a"]):
        with locks.hold(shared=["a"]):
            assert not is_free(locks, "a")
        assert not is_free(locks, "a"), "one of the two holds it still"
        assert is_free(locks, shared=("a",))
    assert is_free(locks, "a")


def test_the_error_names_the_busy_keys_alone() -> None:
    locks = KeyedLocks()
    with (
        locks.hold("b", "a"),
        pytest.raises(OperationPending, match=r"another call is in progress for a, b$"),
        locks.hold("c", "b", shared=["a"]),
    ):
        pass


def test_where_one_key_is_busy_none_is_taken() -> None:
    locks = KeyedLocks()
    with locks.hold("b"):
        assert not is_free(locks, "a", "b", shared=("c",))
        assert is_free(locks, "a", "c")


def test_what_is_wanted_alone_and_shared_is_held_alone() -> None:
    """A clone of a volume onto itself, say, must not shut itself out."""
    locks = KeyedLocks()
    with locks.hold("a", shared=["a"]):
        assert not is_free(locks, shared=("a",))
    assert is_free(locks, "a")


def test_keys_are_given_back_after_an_error() -> None:
    locks = KeyedLocks()
    with pytest.raises(ZeroDivisionError), locks.hold("a", shared=["b"]):
        raise ZeroDivisionError
    assert is_free(locks, "a", "b")


ABSENT = "csi_cinderlib_test_absent"


def test_an_import_fails_inside_and_is_possible_again_outside() -> None:
    with without(ABSENT) as kept_out:
        assert kept_out
        with pytest.raises(ImportError):
            __import__(ABSENT)
        with without(ABSENT) as again:
            assert not again
    assert ABSENT not in sys.modules


def test_a_thread_waits_until_another_has_imported() -> None:
    entered = []

    def enter() -> None:
        with without(ABSENT):
            entered.append("thread")

    thread = threading.Thread(target=enter)
    with without(ABSENT):
        thread.start()
        thread.join(0.05)
        entered.append("here")
    thread.join()
    assert entered == ["here", "thread"]


def test_what_is_removed_inside_is_not_missed() -> None:
    with without(ABSENT):
        del sys.modules[ABSENT]
    assert ABSENT not in sys.modules


def test_a_module_that_is_loaded_already_stays() -> None:
    with without("threading") as kept_out:
        assert not kept_out
        assert __import__("threading") is threading
    assert sys.modules["threading"] is threading


def test_a_module_that_was_put_there_inside_stays() -> None:
    with without(ABSENT):
        sys.modules[ABSENT] = threading
    assert sys.modules.pop(ABSENT) is threading


def test_eventlet_is_kept_out() -> None:
    before = sys.modules.get("eventlet")
    with without_eventlet() as kept_out:
        assert kept_out is (before is None)
        assert sys.modules["eventlet"] is before
    assert sys.modules.get("eventlet") is before


def test_several_work_at_once_until_the_gate_is_shut() -> None:
    gate, inside, leave = Gate(), threading.Barrier(3), threading.Event()

    def work() -> None:
        with gate:
            inside.wait(60)
            leave.wait(60)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    assert not gate.shut(0.01)
    leave.set()
    assert gate.shut(60)
    for thread in threads:
        thread.join(60)
