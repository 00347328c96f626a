"""Promise 25: the ids of an installation are its own, from its first start on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from csi_cinderlib.errors import AlreadyExists, ConfigurationError
from csi_cinderlib.model.ids import SHARED, Namespace, is_derived, random_namespace
from csi_cinderlib.model.records import KeyValue, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.stateless import StatelessStore
from csi_cinderlib.provisioning.installation import CLUSTER_KEY, KEY, claim, find, namespace
from tests.component.provisioning.conftest import Damaged
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

NAME = "mysql-data"


def volume(id: str, name: str = NAME) -> Volume:
    return Volume(id=id, name=name, backend="array", size=GiB(1))


def test_two_installations_have_different_ids_for_one_name() -> None:
    first, second = namespace(MemoryStore()), namespace(MemoryStore())
    assert first.volume_id(NAME) != second.volume_id(NAME)


def test_an_installation_keeps_its_ids(store: Store, tmp_path: Path) -> None:
    was = namespace(store)
    store.add(volume(was.volume_id(NAME)))
    assert namespace(store) == was


def test_ids_survive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_store("sql", {}, state_dir=tmp_path)
        (tmp_path / "seen").open("a").write(f"{namespace(store).uuid}\n")
        store.close()
    assert len(set((tmp_path / "seen").read_text().split())) == 1


def test_controllers_that_start_at_once_agree(store: Store) -> None:
    together = Barrier(8)

    def start(_: int) -> Namespace:
        together.wait()
        return namespace(store)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1


def test_a_store_with_ids_of_the_shared_namespace_keeps_them(store: Store) -> None:
    """It was filled before installations had namespaces of their own: a retried creation must find its volume."""
    store.add(volume(makers.new_id(), "of the library"))
    store.add(volume(SHARED.volume_id(NAME)))
    assert namespace(store) == SHARED
    store.remove(store.get(Volume, SHARED.volume_id(NAME)))
    assert namespace(store) == SHARED, "it is written down"


def test_a_look_at_the_namespace_writes_nothing(store: Store) -> None:
    assert find(store) is None
    store.add(volume(SHARED.volume_id(NAME)))
    assert find(store) == SHARED
    assert store.page(KeyValue).records == ()
    assert find(store) == namespace(store) == find(store)


def test_a_look_finds_what_stops_a_start(store: Store) -> None:
    store.add(volume(namespace(store).volume_id(NAME)))
    store.remove(store.get(KeyValue, KEY))
    with pytest.raises(ConfigurationError, match="volumes but no key-value"):
        find(store)


def test_volumes_of_the_library_alone_are_no_installation() -> None:
    store = MemoryStore()
    store.add(volume(makers.new_id()))
    assert namespace(store) != SHARED


def test_a_lost_record_beside_volumes_stops_the_start(store: Store) -> None:
    store.add(volume(namespace(store).volume_id(NAME)))
    store.remove(store.get(KeyValue, KEY))
    with pytest.raises(ConfigurationError, match=r"volumes but no key-value 'csi-cinderlib\.installation'; see"):
        namespace(store)


def test_a_volume_that_cannot_be_read_counts(store: Store) -> None:
    id = random_namespace().volume_id(NAME)
    store.add(volume(id))
    with pytest.raises(ConfigurationError):
        namespace(Damaged(store, id))
    store.add(volume(SHARED.volume_id("b"), "b"))
    assert namespace(Damaged(store, id)) == SHARED


def test_a_record_that_is_no_namespace_stops_the_start() -> None:
    store = MemoryStore()
    store.add(KeyValue(id=KEY, value="x"))
    with pytest.raises(ConfigurationError, match="does not hold a UUID"):
        namespace(store)


def test_a_record_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    store = StatelessStore()
    namespace(store)
    store.load(store.dump().replace('"kind":"key-value",', '"kind":"other",', 2).replace('"other"', '"key-value"', 1))
    with pytest.raises(ConfigurationError, match="cannot read the record"):
        namespace(store)


def test_an_export_carries_the_namespace(tmp_path: Path) -> None:
    first, second = MemoryStore(), MemoryStore()
    was = namespace(first)
    first.add(volume(was.volume_id(NAME)))
    transfer.export(first, tmp_path / "export")
    transfer.import_(second, tmp_path / "export")
    assert namespace(second) == was


def test_an_import_over_another_installation_is_refused(tmp_path: Path) -> None:
    first, second = MemoryStore(), MemoryStore()
    namespace(first)
    was = namespace(second)
    transfer.export(first, tmp_path / "export")
    with pytest.raises(AlreadyExists, match=r"csi-cinderlib\.installation"):
        transfer.import_(second, tmp_path / "export")
    assert namespace(second) == was


def test_a_document_carries_the_namespace() -> None:
    first, second = StatelessStore(), StatelessStore()
    was = namespace(first)
    second.load(first.dump())
    assert namespace(second) == was


def test_the_record_is_written_once() -> None:
    store = ObservedStore()
    namespace(store)
    store.calls.clear()
    namespace(store)
    assert store.calls == ["get"]


@pytest.mark.parametrize(
    ("id", "derived"),
    [(random_namespace().volume_id(""), True), (makers.new_id(), False), ("my own", False)],
    ids=["derived", "random", "free"],
)
def test_ids_of_the_library_are_told_from_derived_ones(id: str, derived: bool) -> None:
    assert is_derived(id) is derived


def test_a_store_is_one_clusters(store: Store) -> None:
    claim(store, "one")
    claim(store, "one")
    with pytest.raises(ConfigurationError, match="belongs to cluster one, but this is cluster two"):
        claim(store, "two")
    with pytest.raises(ConfigurationError, match="belongs to cluster one"):
        claim(store, "two", take_over_from="three")
    claim(store, "two", take_over_from="one")
    with pytest.raises(ConfigurationError, match="belongs to cluster two"):
        claim(store, "one", take_over_from="three")


def test_two_controllers_may_take_a_store_over_at_once(store: Store) -> None:
    claim(store, "one")
    together = Barrier(8)

    def take(_: int) -> None:
        together.wait()
        claim(store, "two", take_over_from="one")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert store.get(KeyValue, CLUSTER_KEY).value == "two"
