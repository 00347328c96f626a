"""After a change of keys nothing in the store needs the old one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.app.resealing import MARK, Resealing, holds_secret
from csi_cinderlib.app.stores import everything
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, KeyValue, Provider, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning.heartbeats import Owners
from csi_cinderlib.sealing import Sealer, generate_key

OLD, NEW = SealingKey(id="old", key=generate_key()), SealingKey(id="new", key=generate_key())
RECORDS = (
    Volume(id="chap", backend="a", size=GiB(1), provider=Provider(auth="CHAP u p")),
    Volume(id="plain", backend="a", size=GiB(1)),
    Attachment(
        id="at",
        volume_id="chap",
        backend="a",
        node_id="n",
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        connection_info={"data": {"auth_password": "p"}},
    ),
    KeyValue(id="k", value="v"),
)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer([OLD])


@pytest.fixture
def store(sealer: Sealer, tmp_path: Path) -> Iterator[Store]:
    store = open_store("sql", {}, state_dir=tmp_path, sealer=sealer)
    for record in RECORDS:
        store.add(record)  # type: ignore[type-var]  # a union
    yield store
    store.close()


def readable(store: Store) -> set[str]:
    return {record.id for _, record in everything(store) if not isinstance(record, str)}


def test_all_records_can_be_read_without_the_old_key(store: Store, sealer: Sealer) -> None:
    resealing = Resealing(store, sealer)
    sealer.rotate([NEW, OLD])
    resealing.look()
    sealer.rotate([NEW])
    assert readable(store) == {"chap", "plain", "at", "k", MARK}
    assert store.get(Volume, "chap").provider.auth == "CHAP u p"


def test_records_are_written_again_once_for_each_key_also_after_a_restart(store: Store, sealer: Sealer) -> None:
    sealer.rotate([NEW, OLD])
    Resealing(store, sealer).look()
    before = {record.revision for _, record in everything(store) if not isinstance(record, str)}
    Resealing(store, sealer).look()
    assert {record.revision for _, record in everything(store) if not isinstance(record, str)} == before


def test_what_cannot_be_read_is_named_and_the_work_is_not_called_done(
    store: Store, sealer: Sealer, caplog: pytest.LogCaptureFixture
) -> None:
    sealer.rotate([NEW])
    Resealing(store, sealer).look()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.values["ids"] == ["volume chap", "attachment at", "key-value k"]  # type: ignore[attr-defined]  # ours
    sealer.rotate([NEW, OLD])
    Resealing(store, sealer).look()
    sealer.rotate([NEW])
    assert {"chap", "at", "k"} <= readable(store)


def test_without_keys_nothing_is_written(tmp_path: Path) -> None:
    store = open_store("memory", {}, state_dir=tmp_path)
    Resealing(store, Sealer()).look()
    assert readable(store) == set()


def test_only_what_holds_a_secret_needs_a_key() -> None:
    assert [holds_secret(record) for record in RECORDS] == [True, False, True, True]
    assert not holds_secret(Snapshot(id="s", backend="a", volume_id="chap", size=GiB(1)))


class Site:
    """A controller on the store of all, and the keys that have reached it."""

    def __init__(self, name: str, beside: Site | None = None) -> None:
        self.sealer = Sealer([OLD])
        self.store = MemoryStore(self.sealer)
        if beside:
            self.store._tables, self.store._lock = beside.store._tables, beside.store._lock
        self.owners = Owners(self.store, owner=name, writer=lambda: self.sealer.writer)
        self.owners.beat()
        self.resealing = Resealing(self.store, self.sealer, lagging=self.owners.lagging)

    def rotate(self, *keys: SealingKey) -> None:
        self.sealer.rotate(keys)
        self.owners.beat()

    def publish(self, id: str) -> None:
        self.store.add(replace(self.store.get(Attachment, "at"), id=id))


@pytest.fixture
def two() -> tuple[Site, Site]:
    a = Site("a")
    b = Site("b", beside=a)
    for record in RECORDS:
        a.store.add(record)  # type: ignore[type-var]  # a union
    a.resealing.look()
    b.resealing.look()
    return a, b


def test_what_a_controller_sealed_before_the_new_key_reached_it_is_not_lost(two: tuple[Site, Site]) -> None:
    a, b = two
    a.rotate(NEW, OLD)
    a.resealing.look()
    b.publish("late")
    b.rotate(NEW, OLD)
    for site in (a, b):
        site.resealing.look()
    a.rotate(NEW)
    assert {"chap", "at", "k", "late", MARK} <= readable(a.store)


def test_nothing_is_called_done_while_a_controller_seals_with_the_old_key(
    two: tuple[Site, Site], caplog: pytest.LogCaptureFixture
) -> None:
    a, b = two
    caplog.set_level("INFO")
    a.rotate(NEW, OLD)
    a.resealing.look()
    a.resealing.look()
    assert [vars(record)["event"] for record in caplog.records] == ["resealing postponed"]
    b.owners.leave()
    a.resealing.look()
    assert vars(caplog.records[-1])["event"] == "records resealed"


def test_a_process_whose_key_changed_writes_again_whatever_the_mark_says(store: Store, sealer: Sealer) -> None:
    here = Resealing(store, sealer)
    here.look()
    other = Sealer([NEW, OLD])
    sealer.rotate([NEW, OLD])
    Resealing(store, other).look()  # marks it
    sealer.rotate([OLD, NEW])
    store.replace(store.get(Volume, "chap"))
    sealer.rotate([NEW, OLD])
    here.look()
    sealer.rotate([NEW])
    assert {"chap", "at", "k"} <= readable(store)


def test_a_key_that_was_taken_back_before_all_had_it_leaves_nothing_sealed_with_it(two: tuple[Site, Site]) -> None:
    a, _ = two
    a.rotate(NEW, OLD)
    a.resealing.look()  # waits for b
    a.publish("meanwhile")
    a.rotate(OLD, NEW)
    a.resealing.look()
    a.rotate(OLD)
    assert "meanwhile" in readable(a.store)
