"""Connections step by step: who is asked, what the driver is told, and who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, NotFound, OperationPending, PreconditionFailed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume(multiattach=True))


def test_who_is_excluded_by_others_is_not_let_in(backend: LocalBackend, volume: Volume, store: ObservedStore) -> None:
    there = backend.connect(volume, makers.attachment(volume, "node-1"))
    driver: Any = backend.driver
    exports = driver.calls["create_export"]
    asked = []

    def refuse(others: Sequence[Attachment]) -> None:
        asked.append(list(others))
        raise PreconditionFailed("node-1 has it")

    with pytest.raises(PreconditionFailed, match="node-1 has it"):
        backend.connect(store.get(Volume, volume.id), makers.attachment(volume, "node-2"), check=refuse)
    assert asked == [[there]]
    assert store.page(Attachment).records == (there,)
    assert (driver.calls["create_export"] - exports, driver.mapped) == (0, {(volume.id, "node-1")})


@pytest.mark.parametrize("status", [Status.DELETING, Status.CREATING, Status.ERROR])
def test_only_a_whole_volume_is_connected(
    backend: LocalBackend, volume: Volume, store: ObservedStore, status: Status
) -> None:
    left = store.replace(replace(volume, status=status))
    with pytest.raises(PreconditionFailed, match=f"volume '{volume.id}' is {status}"):
        backend.connect(left, makers.attachment(volume))
    assert store.page(Attachment).records == ()
    assert store.get(Volume, volume.id).blank


def test_a_finished_connection_has_no_message(backend: LocalBackend, volume: Volume, store: ObservedStore) -> None:
    attachment = makers.attachment(volume)

    def note(*_arguments: object) -> None:
        store.replace(replace(store.get(Attachment, attachment.id), message="it takes long"))

    observe(backend.driver, "create_export", note)
    assert backend.connect(volume, attachment).message == ""


def test_the_driver_is_told_of_the_node(backend: LocalBackend, volume: Volume) -> None:
    exported = observe(backend.driver, "create_export", lambda _context, _volume, connector: connector)
    mapped = observe(backend.driver, "initialize_connection", lambda _volume, connector: connector)
    attachment = makers.attachment(volume)
    backend.connect(volume, attachment)
    assert exported == mapped == [attachment.connector]


def test_the_back_ends_options_complete_what_the_driver_answers(make: MakeBackend) -> None:
    backend = make(report_discard_supported=True, disk_geometry="512e")
    volume = backend.create_volume(makers.volume())
    data: Any = backend.connect(volume, makers.attachment(volume)).connection_info["data"]
    assert (data["discard"], data["physical_block_size"], data["logical_block_size"]) == (True, "4096", "512")


@pytest.mark.parametrize("call", ["connect", "disconnect"])
def test_a_connection_waits_for_the_turn_of_its_volume(backend: LocalBackend, volume: Volume, call: str) -> None:
    """A start exports what is attached beside the calls that are served."""
    attachment = makers.attachment(volume)
    if call == "disconnect":
        attachment = backend.connect(volume, attachment)
    arguments = (volume, attachment) if call == "connect" else (attachment,)
    driver: Any = backend.driver
    driver.calls.clear()
    thread = threading.Thread(target=getattr(backend, call), args=arguments)
    with backend.verbs._engine.turn(volume.id):
        thread.start()
        thread.join(0.05)
        assert (thread.is_alive(), set(driver.calls) - {"validate_connector"}) == (True, set())
    thread.join()
    assert set(driver.calls) - {"validate_connector"}


def test_connecting_an_unknown_volume_is_not_found(backend: LocalBackend) -> None:
    volume = replace(makers.volume(), blank=False)
    with pytest.raises(NotFound):
        backend.connect(volume, makers.attachment(volume))


def test_an_export_stays_for_a_node_that_got_the_volume_while_another_lost_it(
    backend: LocalBackend, store: ObservedStore, volume: Volume
) -> None:
    """Another process may attach it while `terminate_connection` runs."""
    attachment = backend.connect(volume, makers.attachment(volume))
    arrives = replace(makers.attachment(volume, "node-2"), status=Status.AVAILABLE)
    removed = observe(backend.driver, "remove_export", lambda *_: True)

    def arrive(*_: object) -> None:
        if store.page(Attachment).records[0].id == attachment.id:
            store.add(arrives)

    observe(backend.driver, "terminate_connection", arrive)
    backend.disconnect(attachment)
    assert removed == []
    assert store.page(Attachment).records == (store.get(Attachment, arrives.id),)
    backend.disconnect(store.get(Attachment, arrives.id))
    assert removed == [True]


@pytest.mark.parametrize("living", [True, False])
def test_nobody_exports_a_volume_whose_export_another_process_takes_away(
    make: MakeBackend, store: ObservedStore, living: bool
) -> None:
    backend = make(is_alive=lambda owner: living and owner == "other")
    volume = backend.create_volume(makers.volume(multiattach=True))
    leaving = replace(makers.attachment(volume, "node-2"), status=Status.DELETING, owner="other")
    store.add(leaving)
    if living:
        with pytest.raises(OperationPending, match=r"attachment .* is being processed by 'other'"):
            backend.connect(volume, makers.attachment(volume))
        assert [record.id for record in store.page(Attachment).records] == [leaving.id]
    else:
        assert backend.connect(volume, makers.attachment(volume)).status is Status.AVAILABLE


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_a_refused_attachment_that_an_earlier_attempt_began_keeps_its_record(
    backend: LocalBackend, volume: Volume, store: ObservedStore, status: Status
) -> None:
    """Its node may have the volume still, and only the record tells."""
    begun = store.replace(replace(backend.connect(volume, makers.attachment(volume)), status=status, owner="dead"))

    def refuse(_others: Sequence[Attachment]) -> None:
        raise PreconditionFailed("another node has it")

    with pytest.raises(PreconditionFailed, match="another node has it"):
        backend.connect(store.get(Volume, volume.id), begun, check=refuse)
    kept = store.get(Attachment, begun.id)
    assert (kept.status, kept.owner, kept.message) == (status, "", "another node has it")
    backend.disconnect(kept)
    assert (backend.driver.mapped, store.page(Attachment).records) == (set(), ())


def test_an_export_is_removed_with_what_the_driver_changed_when_it_let_the_node_go(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    driver: Any = backend.driver

    def move(subject: Any, _connector: Any, **_named: Any) -> None:
        subject.provider_location = "moved"
        subject.save()

    def fail(*_arguments: Any) -> None:
        raise RuntimeError("no mapping")

    driver.terminate_connection, driver.initialize_connection = move, fail
    seen = observe(driver, "remove_export", lambda _context, subject: subject.provider_location)
    with pytest.raises(BackendError, match="no mapping"):
        backend.connect(volume, makers.attachment(volume))
    assert seen == ["moved"]
