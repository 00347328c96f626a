"""A record that cannot be read counts: nobody decides on a volume by the part of its records that can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.sealing import Sealer, generate_key
from tests.support.fakes import makers
from tests.support.local_backends import MakeBackend

HERE, LOST = SealingKey(id="here", key=generate_key()), SealingKey(id="lost", key=generate_key())


@pytest.fixture
def sealer() -> Sealer:
    return Sealer([HERE])


@pytest.fixture
def sql(sealer: Sealer, tmp_path: Path) -> Iterator[Store]:
    store = open_store("sql", {}, state_dir=tmp_path, sealer=sealer)
    yield store
    store.close()


@pytest.fixture
def backend(make: MakeBackend, sql: Store) -> LocalBackend:
    return make(driver="tests.support.fakes.nothing.GroupDriver", store=sql)


@pytest.fixture
def volume(backend: LocalBackend, sql: Store, sealer: Sealer) -> Volume:
    """One that can be read, attached to n1 by a record that can and to n2 by one that cannot; without a password of its own."""
    made = backend.create_volume(makers.volume(multiattach=True))
    backend.connect(made, makers.attachment(made, "n1"))
    sealer.rotate([LOST, HERE])
    backend.connect(again(sql, made), makers.attachment(made, "n2"))
    sealer.rotate([HERE, LOST])
    made = again(sql, made)
    made = sql.replace(replace(made, provider=replace(made.provider, auth="")))
    for record in sql.page(Attachment).records:
        if record.node_id == "n1":
            sql.replace(record)
    sealer.rotate([HERE])
    return made


def again(store: Store, volume: Volume) -> Volume:
    return store.get(Volume, volume.id)


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def test_a_volume_with_an_attachment_that_cannot_be_read_is_not_deleted(
    backend: LocalBackend, sql: Store, volume: Volume
) -> None:
    sql.remove(next(one for one in sql.page(Attachment).records if one.node_id == "n1"))
    with pytest.raises(CorruptRecord, match="attachment"):
        backend.delete_volume(volume)
    assert driver(backend).volumes == {volume.id: 1}
    assert driver(backend).exports == {volume.id}
    left = again(sql, volume)
    assert (left.status, left.owner) == (Status.AVAILABLE, "")


def test_a_disconnection_beside_one_that_cannot_be_read_leaves_export_and_record(
    backend: LocalBackend, sql: Store, volume: Volume
) -> None:
    (readable,) = sql.page(Attachment).records
    with pytest.raises(CorruptRecord):
        backend.disconnect(readable)
    assert driver(backend).exports == {volume.id}
    assert driver(backend).mapped == {(volume.id, "n1"), (volume.id, "n2")}
    assert sql.get(Attachment, readable.id).status is Status.DELETING


def test_what_was_refused_goes_on_when_the_key_is_there_again(
    backend: LocalBackend, sql: Store, volume: Volume, sealer: Sealer
) -> None:
    (readable,) = sql.page(Attachment).records
    with pytest.raises(CorruptRecord):
        backend.disconnect(readable)
    sealer.rotate([HERE, LOST])
    for record in sql.page(Attachment).records:
        backend.disconnect(record)
    backend.delete_volume(again(sql, volume))
    assert (driver(backend).mapped, driver(backend).exports, driver(backend).volumes) == (set(), set(), {})


def test_nobody_else_is_connected_and_nothing_is_left_of_the_try(
    backend: LocalBackend, sql: Store, volume: Volume
) -> None:
    with pytest.raises(CorruptRecord):
        backend.connect(volume, makers.attachment(volume, "n3"))
    assert [one.node_id for one in sql.page(Attachment).records] == ["n1"]
    assert driver(backend).calls["initialize_connection"] == 2


def test_snapshots_are_refused_before_anything_is_written(backend: LocalBackend, sql: Store, volume: Volume) -> None:
    with pytest.raises(CorruptRecord):
        backend.create_snapshot(makers.snapshot(volume))
    group = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    with pytest.raises(CorruptRecord):
        backend.create_group_snapshot(group, [makers.snapshot(volume)])
    assert (sql.page(Snapshot).records, sql.page(GroupSnapshot).records) == ((), ())
    assert driver(backend).snapshots == {}


def test_a_start_exports_again_what_can_be_read(
    make: MakeBackend, backend: LocalBackend, sql: Store, volume: Volume
) -> None:
    backend.stop()
    assert driver(make(store=sql)).exports == {volume.id}
