"""Connections and disconnections that could not be undone or finished at once: what their records say, and what is done again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, BackendUnavailable, PreconditionFailed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def test_an_export_is_taken_away_again_when_that_got_no_answer(backend: LocalBackend, store: ObservedStore) -> None:
    """The driver's process may have ended meanwhile."""
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    remove_export = driver(backend).remove_export
    failing(driver(backend), "remove_export", AWAY)
    with pytest.raises(BackendUnavailable, match="the array is away"):
        backend.disconnect(made)
    left = store.get(Attachment, made.id)
    assert (left.status, driver(backend).exports) == (Status.DELETING, {volume.id})
    driver(backend).remove_export = remove_export
    backend.disconnect(left)
    assert (store.page(Attachment).records, driver(backend).exports) == ((), set())


def test_a_failed_connection_that_was_not_undone_at_once_gives_the_mark_back(
    make: MakeBackend, store: ObservedStore
) -> None:
    """No node was told of it. The driver's process may have ended under it, so that nothing could be undone at once."""
    backend = make(nothing_fail=["initialize_connection", "terminate_connection:1"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.connect(volume, makers.attachment(volume))
    (left,) = store.page(Attachment).records
    assert left.status is Status.ERROR
    backend.disconnect(left)
    assert store.get(Volume, volume.id).blank


def test_a_connection_that_may_have_left_a_mapping_is_not_forgotten_when_it_is_refused(
    backend: LocalBackend, store: ObservedStore
) -> None:
    """Another node could be given the volume beside that mapping."""
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    left = store.replace(replace(made, status=Status.ERROR, message="clean-up failed as well"))

    def refuse(_others: object) -> None:
        raise PreconditionFailed("another node has it")

    with pytest.raises(PreconditionFailed, match="another node has it"):
        backend.connect(store.get(Volume, volume.id), makers.attachment(volume), check=refuse)
    kept = store.get(Attachment, left.id)
    assert (kept.status, kept.owner, kept.message) == (Status.ERROR, "", "another node has it")
    backend.disconnect(kept)
    assert (store.page(Attachment).records, driver(backend).mapped) == ((), set())


def test_a_failed_connection_does_not_hide_that_another_process_takes_it_away(
    make: MakeBackend, store: ObservedStore
) -> None:
    """As an unfinished one, it would give the mark back of a volume that its node may have formatted meanwhile."""
    backend = make(nothing_fail=["terminate_connection:1"])
    volume = backend.create_volume(makers.volume())
    attachment = makers.attachment(volume)

    def is_taken_away(*_arguments: object) -> None:
        record = store.get(Attachment, attachment.id)
        store.replace(replace(record, status=Status.DELETING, owner="other"))
        raise RuntimeError("no mapping")

    driver(backend).initialize_connection = is_taken_away
    with pytest.raises(BackendError, match="no mapping"):
        backend.connect(volume, attachment)
    left = store.get(Attachment, attachment.id)
    assert (left.status, left.owner) == (Status.DELETING, "other")
    backend.disconnect(left)
    assert not store.get(Volume, volume.id).blank
