"""Adding to a volume while others remove it, make it anew or write on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists, NotFound
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.contract.samples import attachment, snapshot, volume
from csi_cinderlib.persistence.kubernetes.resources import RESOURCES
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster

DEPENDENTS = [snapshot("5001", of="0001"), attachment("a001", of="0001")]
each_dependent = pytest.mark.parametrize("record", DEPENDENTS, ids=lambda record: type(record).__name__)


class Interrupted(Client):
    """Once it has created a snapshot or an attachment, something else happens before the next request."""

    def __init__(self, namespace: Namespace, meanwhile: Callable[[], object]) -> None:
        super().__init__(from_kubeconfig(namespace.kubeconfigs["controller"]))
        self._meanwhile: list[Callable[[], object]] = [meanwhile]

    def post(self, path: str, body: Any) -> Any:
        answer = super().post(path, body)
        if path.endswith(("snapshots", "attachments")) and self._meanwhile:
            self._meanwhile.pop()()
        return answer


def interrupted(namespace: Namespace, meanwhile: Callable[[], object]) -> KubernetesStore:
    return KubernetesStore(Interrupted(namespace, meanwhile), namespace.name, None)


def delete(namespace: Namespace, kind: Any, id: str) -> None:
    namespace.server.admin.delete(RESOURCES[kind].path(namespace.name, id))


@each_dependent
@pytest.mark.parametrize("read_before", [True, False])
def test_a_volume_removed_meanwhile_is_not_found_and_leaves_nothing_of_its_own(
    namespace: Namespace, record: Any, read_before: bool
) -> None:
    other = namespace.store(None)
    stored = other.add(volume("0001"))
    store = interrupted(namespace, lambda: delete(namespace, Volume, "0001"))
    assert not read_before or store.get(Volume, "0001") == stored
    with pytest.raises(NotFound, match="volume '0001'"):
        store.add(record)
    assert other.page(type(record)).records == ()


@each_dependent
def test_a_volume_collected_together_with_what_was_added_is_not_found(namespace: Namespace, record: Any) -> None:
    namespace.store(None).add(volume("0001"))

    def collect() -> None:
        delete(namespace, Volume, "0001")
        delete(namespace, type(record), record.id)

    with pytest.raises(NotFound, match="volume '0001'"):
        interrupted(namespace, collect).add(record)


@each_dependent
def test_what_somebody_else_adds_under_the_same_id_meanwhile_stays(namespace: Namespace, record: Any) -> None:
    other = namespace.store(None)
    other.add(volume("0001"))

    def make_anew() -> None:
        delete(namespace, Volume, "0001")
        delete(namespace, type(record), record.id)
        other.add(volume("0001"))
        other.add(record)

    with pytest.raises(AlreadyExists):
        interrupted(namespace, make_anew).add(record)
    assert [found.id for found in other.page(type(record)).records] == [record.id]


@each_dependent
def test_a_volume_made_anew_meanwhile_gets_what_was_added(namespace: Namespace, record: Any) -> None:
    other = namespace.store(None)
    other.add(volume("0001"))

    def make_anew() -> None:
        delete(namespace, Volume, "0001")
        other.add(volume("0001"))

    interrupted(namespace, make_anew).add(record)
    assert_owned_by_the_volume(namespace, record)


@each_dependent
def test_a_volume_made_anew_since_it_was_read_gets_what_is_added(namespace: Namespace, record: Any) -> None:
    store, other = namespace.store(None), namespace.store(None)
    other.add(volume("0001"))
    other.remove(store.get(Volume, "0001"))
    other.add(volume("0001"))
    store.add(record)
    assert_owned_by_the_volume(namespace, record)


def assert_owned_by_the_volume(namespace: Namespace, record: Any) -> None:
    (of,) = namespace.objects("volumes")
    (made,) = namespace.objects(RESOURCES[type(record)].plural)
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == [of["metadata"]["uid"]]


def test_what_others_write_on_the_volume_meanwhile_stays(namespace: Namespace) -> None:
    namespace.store(None).add(volume("0001"))
    path, admin = RESOURCES[Volume].path(namespace.name, "0001"), namespace.server.admin
    theirs: list[dict[str, Any]] = [{"op": "add", "path": "/metadata/annotations", "value": {"theirs": "kept"}}]
    interrupted(namespace, lambda: admin.patch(path, theirs)).add(snapshot("5001", of="0001"))
    annotations = admin.get(path)["metadata"]["annotations"]
    assert annotations["theirs"] == "kept"
    assert len(annotations) == 2
