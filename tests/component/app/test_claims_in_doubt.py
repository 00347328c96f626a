"""Claims that cannot be stored, are lost, or are damaged: other back ends go on, and no object is let go without a proof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.backend_objects import BackendObjects
from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.lifecycle import claims, leftovers
from csi_cinderlib.lifecycle.claims import Claim, Claims
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import KeyValue, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import R
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.names import id_at, object_name
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.app.test_backend_removal import back_end, removal
from tests.component.app.test_sources import DRIVER, MINE, PATH, SECRETS, Site
from tests.support.cluster_objects import NAMESPACE, ClusterObjects
from tests.support.running import wait_for

MARKED = {"labels": MINE, "finalizers": ["cinderlib.io/volumes"]}


class Refusing(MemoryStore):
    """A store that can refuse writes of claims, as a quota does, or all calls.

    Attributes:
        refuses: `add` and `remove` of claims fail.
        adds_first: the refused claim was stored nevertheless.
        is_silent: reading fails as well.
    """

    refuses = adds_first = is_silent = False

    def add(self, record: R) -> R:
        if self.refuses and record.id.startswith(claims.PREFIX):
            if self.adds_first:
                super().add(record)
            raise StoreUnavailable("403 Forbidden: exceeded quota")
        return super().add(record)

    def remove(self, record: R) -> None:
        if self.refuses:
            raise StoreUnavailable("403 Forbidden: denied")
        super().remove(record)

    def page(self, kind: type[R], **query: Any) -> Any:
        if self.is_silent:
            raise StoreUnavailable("no answer")
        return super().page(kind, **query)


@pytest.fixture
def store() -> Refusing:
    return Refusing()


@pytest.fixture
def site(tmp_path: Path, store: Refusing) -> Iterator[Site]:
    site = Site(tmp_path, store)
    yield site
    site.close()


def claim_of(site: Site) -> Claim:
    site.apply()
    site.until(lambda: site.origins() == {"array": "object"})
    (claim,) = claims.read(site.store)
    return claim


def test_a_claim_that_cannot_be_stored_refuses_its_object_only(site: Site, store: Refusing) -> None:
    store.refuses = True
    site.write("other")
    site.apply()
    site.until(lambda: site.refusal()[0] == "NotClaimed")
    assert "could not be claimed: 403 Forbidden: exceeded quota" in site.refusal()[1]
    assert site.origins() == {"other": "file"}
    site.start()
    assert site.origins() == {"other": "file"}
    store.refuses = False
    site.until(lambda: site.origins() == {"other": "file", "array": "object"})


def test_a_claim_that_is_refused_slowly_is_not_tried_at_each_reading(tmp_path: Path, store: Refusing) -> None:
    """A webhook that does not answer would delay all back ends each time."""
    now, tried = [0.0], list[float]()

    class Slow(Configurations):
        def mark(self, found: dict[str, Any]) -> dict[str, Any]:
            tried.append(now[0])
            now[0] += 10
            raise ApiError(500, "InternalError", "failed calling webhook: context deadline exceeded")

    cluster = ClusterObjects()
    cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}})
    shelf = Slow(cluster, NAMESPACE, driver_name="csi.cinderlib.io", instance="pod")
    objects = BackendObjects(
        lambda: cluster,
        NAMESPACE,
        shelf,
        Claims(store),
        complete=dict,
        changed=lambda: None,
        monotonic=lambda: now[0],
    )
    objects.wait(60.0)
    for seconds in (0.0, 5.0, 10.0, 60.0):
        now[0] += seconds
        (state,) = objects.read({}).states
        assert state.refusal is not None
        assert "failed calling webhook" in state.refusal.message
    objects.close()
    assert tried == [0.0, 85.0]


def test_an_object_that_cannot_be_read_at_all_has_no_effect_on_the_others(site: Site) -> None:
    """No API server sends such a Secret, but nothing that one object contains may freeze all back ends."""
    site.apply(secretRef={"name": "s1"})
    site.apply("second")
    site.cluster.apply(SECRETS, "s1", {"data": {"san_ip": 5}})
    site.until(lambda: site.refusal()[0] == "InvalidSpec")
    assert site.refusal()[1] == "the object cannot be read: unexpected TypeError; see the log of the controller"
    assert site.origins() == {"second": "object"}
    site.cluster.apply(SECRETS, "s1", {"data": {"san_ip": None}})
    site.until(lambda: site.origins() == {"array": "object", "second": "object"})


def test_a_mark_that_is_refused_slowly_is_not_restored_at_each_reading(tmp_path: Path, store: Refusing) -> None:
    now, tried = [0.0], list[float]()

    class Slow(Configurations):
        def mark(self, found: dict[str, Any]) -> dict[str, Any]:
            tried.append(now[0])
            if len(tried) > 1:
                now[0] += 10
                raise ApiError(500, "InternalError", "failed calling webhook: context deadline exceeded")
            return super().mark(found)

    cluster = ClusterObjects()
    cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}})
    shelf = Slow(cluster, NAMESPACE, driver_name="csi.cinderlib.io", instance="pod")
    objects = BackendObjects(
        lambda: cluster, NAMESPACE, shelf, Claims(store), complete=dict, changed=lambda: None, monotonic=lambda: now[0]
    )
    objects.wait(60.0)
    objects.read({})
    cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}}, finalizers=[])
    wait_for(lambda: not objects.read({}).states[0].declared.is_kept)
    now[0] = 100.0
    for _ in range(3):
        (state,) = objects.read({}).states
        assert state.settings is not None, "the claim does not depend on the mark"
        now[0] += 10
    objects.close()
    assert len([at for at in tried[1:] if at >= 100.0]) == 1


def test_a_claim_that_may_have_been_stored_keeps_its_name_taken(site: Site, store: Refusing) -> None:
    site.read()
    store.refuses = store.adds_first = store.is_silent = True
    site.apply()
    site.until(lambda: site.refusal()[0] in {"NotClaimed", "NameInUse"})
    site.write()
    assert site.origins() == {}, "the file does not take a name that may be claimed"
    store.is_silent = False
    assert site.origins() == {"array": "object"}, "it was stored"


def test_a_claim_that_cannot_be_removed_delays_nothing_else(
    site: Site, store: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    claim_of(site)
    site.cluster.apply(PATH, "array", site.found(), finalizers=[])
    store.refuses = True
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.state() is None)
    site.write("other")
    assert site.origins() == {"other": "file"}
    assert site.read().keeps("array")
    warned = [record for record in caplog.records if record.getMessage().startswith("claim of a back end object not")]
    assert len(warned) == 1
    store.refuses = False
    assert not site.read().keeps("array")
    assert site.claims() == {}


def test_only_the_first_reading_of_the_claims_can_fail_the_whole(site: Site, store: Refusing) -> None:
    claim_of(site)
    store.is_silent = True
    assert site.origins() == {"array": "object"}
    with pytest.raises(StoreUnavailable):
        site.start()


@pytest.mark.parametrize("label", [MINE, {}], ids=["with the label", "without the label"])
def test_a_lost_claim_of_a_deleted_object_is_taken_again(site: Site, store: Refusing, label: dict[str, str]) -> None:
    """Its back end starts, so that its volumes can be deleted, and the object stays until they are."""
    claim_of(site)
    volume = store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.cluster.apply(PATH, "array", site.found(), labels=label)
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.found()["metadata"].get("deletionTimestamp"))
    store.remove(store.get(KeyValue, f"{claims.PREFIX}array"))
    site.start()
    assert site.origins() == {"array": "object"}
    it, shelf = removal(site)
    it.look()
    assert shelf.released == []
    store.remove(volume)
    it.look()
    assert shelf.released == ["array"]


def test_an_object_without_a_claim_stays_while_its_back_end_has_volumes(site: Site, store: Refusing) -> None:
    """It cannot be claimed again, because its Secret has gone as well."""
    volume = store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.cluster.apply(PATH, "array", {"spec": {"driver": DRIVER, "secretRef": {"name": "gone"}}}, **MARKED)
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.refusal()[0] == "SecretNotFound")
    it, shelf = removal(site)
    it.look()
    assert shelf.released == []
    assert "still has 1 volume" in shelf.told[0]
    store.remove(volume)
    it.look()
    assert shelf.released == ["array"]


def test_the_claim_of_an_object_that_is_gone_proves_nothing(site: Site, store: Refusing) -> None:
    """Its removal failed, and a tool restored the object with its finalizer, under another uid."""
    claim_of(site)
    volume = store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.cluster.apply(PATH, "array", site.found(), finalizers=[])
    store.refuses = True
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.state() is None)
    site.cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}}, **MARKED)
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.refusal()[0] == "NameInUse")
    it, shelf = removal(site)
    it.look()
    assert shelf.released == []
    assert "still has 1 volume" in shelf.told[0]
    store.refuses = False
    store.remove(volume)
    it.look()
    assert shelf.released == ["array"]


def test_a_claim_with_the_content_of_another_is_unreadable(store: Refusing) -> None:
    content = json.dumps({"backend": "b", "uid": "u", "object": "b", "driver": "d"})
    for name in ("a", "b"):
        store.add(KeyValue(id=f"{claims.PREFIX}{name}", value=content))
    assert [(claim.backend, claim.uid) for claim in claims.read(store)] == [("a", ""), ("b", "u")]


def test_the_end_of_a_foreign_object_does_not_drain_the_back_end_of_a_file(site: Site, store: Refusing) -> None:
    site.write()
    site.read()
    (site.directory / "a.yaml").write_text("array: [")
    site.cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}}, **MARKED)
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.refusal()[0] == "NameInUse")
    registry = Backends([back_end(store)])
    it, shelf = removal(site, registry)
    it.look()
    assert shelf.released == [], "the file cannot be read at present"
    assert not registry.get("array").settings.drained
    site.write()
    site.read()
    it.look()
    assert shelf.released == ["array"]


def test_the_whole_refusal_is_shown_before_a_file_is_removed(site: Site) -> None:
    site.write()
    site.apply(paused=5)
    site.until(lambda: site.refusal()[0] == "NameInUse")
    assert "remove it there" in site.refusal()[1]
    assert "the object would also be refused then" in site.refusal()[1]
    assert "spec.paused" in site.refusal()[1]


def test_a_back_end_goes_on_while_the_object_that_replaces_its_file_is_refused(site: Site) -> None:
    site.write()
    site.apply(secretRef={"name": "s1"})
    site.until(lambda: "no Secret 's1'" in site.refusal()[1])
    (site.directory / "a.yaml").unlink()
    configured = site.read()
    assert (configured.backends, configured.keeps("array")) == ((), True)
    assert site.refusal()[0] == "SecretNotFound"
    assert "there is no Secret 's1'" in site.sources.unreadable()["array"]
    site.cluster.apply(SECRETS, "s1", {"data": {"san_mode": "Y2FuYXJ5"}})
    site.until(lambda: site.origins() == {"array": "object"})
    site.apply(paused=5)
    site.cluster.apply(PATH, "array", site.found(), finalizers=[])
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: not site.read().keeps("array"))


@pytest.mark.parametrize("key", [f"{claims.PREFIX}array1", f"{leftovers.PREFIX}{'a' * 36}.snapshot.{'b' * 40}"])
def test_a_damaged_object_of_the_store_keeps_what_it_belongs_to(key: str) -> None:
    """An edit or a restore can lose `spec.id`. The name of the object still says what it was."""
    name = object_name(KeyValue, key)

    class Server:
        def get(self, _path: str, **_query: str) -> dict[str, Any]:
            return {"items": [{"metadata": {"name": name}, "spec": {"write": "1"}}], "metadata": {}}

    store = KubernetesStore(Server(), "ns", None)  # type: ignore[arg-type]
    (found,) = store.page(KeyValue).corrupt
    assert found.startswith(key[:90])
    if key.startswith(claims.PREFIX):
        assert claims.read(store) == (Claim(backend="array1", uid="", object="", driver=""),)
        assert Claims(store).of_backend("array1") is not None
    else:
        assert [note for _, note in leftovers.walk(store)] == [None]
    assert (id_at(Volume, "v-1"), id_at(KeyValue, "not encoded")) == ("v-1", "not encoded")
