"""Where Cinder's manager gives a driver its context, a driver gets one here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import failing, observe

METHODS = (
    "create_export",
    "remove_export",
    "ensure_export",
    "revert_to_snapshot",
    "create_group",
    "update_group",
    "create_group_snapshot",
    "delete_group_snapshot",
    "delete_group",
)


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver="tests.support.fakes.nothing.GroupDriver")


@pytest.fixture
def contexts(backend: LocalBackend) -> dict[str, list[Any]]:
    """By method, those that the driver got."""
    driver: Any = backend.driver
    return {method: observe(driver, method, lambda context, *_: context) for method in METHODS}


def check(contexts: dict[str, list[Any]], *methods: str) -> None:
    from cinder import context

    for method in methods:
        assert contexts[method], f"{method} was not called"
        assert all(isinstance(given, context.RequestContext) and given.is_admin for given in contexts[method])


def test_when_a_volume_is_exported_and_taken_away(backend: LocalBackend, contexts: dict[str, list[Any]]) -> None:
    volume = backend.create_volume(makers.volume())
    backend.disconnect(backend.connect(volume, makers.attachment(volume)))
    check(contexts, "create_export", "remove_export")


def test_when_a_volume_is_deleted(backend: LocalBackend, contexts: dict[str, list[Any]]) -> None:
    backend.delete_volume(backend.create_volume(makers.volume()))
    check(contexts, "remove_export")


def test_when_a_start_exports_again_and_meets_a_disconnection(
    make: MakeBackend, backend: LocalBackend, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    seen: dict[str, list[Any]] = {"ensure_export": [], "remove_export": []}

    def ensure_export(_driver: Any, context: Any, _volume: Any) -> None:
        seen["ensure_export"].append(context)
        store.replace(replace(store.get(Attachment, made.id), status=Status.DELETING))

    cls = type(backend.driver)
    monkeypatch.setattr(cls, "ensure_export", ensure_export)
    monkeypatch.setattr(cls, "remove_export", lambda _driver, context, _volume: seen["remove_export"].append(context))
    backend.stop()
    make(driver="tests.support.fakes.nothing.GroupDriver")
    check(seen, *seen)


def test_when_a_failed_connection_is_undone(backend: LocalBackend, contexts: dict[str, list[Any]]) -> None:
    volume = backend.create_volume(makers.volume())
    failing(backend.driver, "initialize_connection", RuntimeError("no"))
    with pytest.raises(BackendError):
        backend.connect(volume, makers.attachment(volume))
    check(contexts, "create_export", "remove_export")


def test_in_group_snapshots_and_reverts(
    backend: LocalBackend, contexts: dict[str, list[Any]], store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    backend.revert_volume(volume, backend.create_snapshot(makers.snapshot(volume)))
    volume = store.get(Volume, volume.id)
    together = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    backend.delete_group_snapshot(backend.create_group_snapshot(together, [makers.snapshot(volume)]))
    check(contexts, *METHODS[3:])


def test_in_the_volumes_and_snapshots_that_a_driver_gets(backend: LocalBackend) -> None:
    """Cinder's objects load what is missing by the context that they carry."""
    seen = observe(backend.driver, "create_volume", lambda volume: volume._context)
    taken = observe(backend.driver, "create_snapshot", lambda snapshot: snapshot._context)
    backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    check({"create_volume": seen, "create_snapshot": taken}, "create_volume", "create_snapshot")
