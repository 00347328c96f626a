"""Files and BackendConfiguration objects together: which of them configures a back end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.backend_objects import BackendObjects
from csi_cinderlib.app.object_states import State
from csi_cinderlib.app.sources import Configured, Sources
from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.lifecycle.claims import Claim, Claims, read
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION
from csi_cinderlib.persistence.kubernetes.statuses import OWNER
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from tests.support.cluster_objects import NAMESPACE, ClusterObjects
from tests.support.running import wait_for

DRIVER = "x.Driver"
PATH = CONFIGURATION.path(NAMESPACE)
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
MINE = {OWNER: "csi.cinderlib.io"}


class Site:
    """Controllers one after the other, on the same store, files and objects."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.directory = folder / "backends"
        self.directory.mkdir()
        self.store = store
        self.cluster = ClusterObjects()
        self._folder = folder
        self._open: list[BackendObjects] = []
        self.sources: Sources
        self.start()

    def start(self, driver_name: str = "csi.cinderlib.io", seconds: float = 60.0) -> None:
        """A new controller, after the end of the previous one."""
        self.close()
        shelf = Configurations(self.cluster, NAMESPACE, driver_name=driver_name, instance="pod")
        objects = BackendObjects(
            lambda: self.cluster, NAMESPACE, shelf, Claims(self.store), complete=dict, changed=lambda: None
        )
        self._open.append(objects)
        objects.wait(seconds)
        self.sources = Sources(Settings(state_dir=self._folder, backends_directory=str(self.directory)), objects)

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def apply(self, name: str = "array", /, **spec: Any) -> None:
        self.cluster.apply(PATH, name, {"spec": {"driver": DRIVER, "options": {"from": "object"}, **spec}})

    def found(self, name: str = "array") -> dict[str, Any]:
        found = self.cluster.found(f"{PATH}/{name}")
        assert found is not None
        return found

    def write(self, name: str = "array", file: str = "a.yaml") -> None:
        (self.directory / file).write_text(f"{name}: {{driver: {DRIVER}, options: {{from: file}}}}\n")

    def read(self) -> Configured:
        return self.sources.read()

    def origins(self) -> dict[str, object]:
        return {backend.name: backend.options["from"] for backend in self.read().backends}

    def state(self, name: str = "array") -> State | None:
        self.read()
        return next((state for state in self.sources.states if state.declared.object == name), None)

    def refusal(self, name: str = "array") -> tuple[str, str]:
        state = self.state(name)
        return (state.refusal.reason, state.refusal.message) if state is not None and state.refusal else ("", "")

    def until(self, holds: Callable[[], object]) -> None:
        wait_for(lambda: bool(holds()))

    def claims(self) -> dict[str, str]:
        return {claim.backend: claim.object for claim in read(self.store)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = open_store("memory", {}, state_dir=tmp_path)
    site = Site(tmp_path, store)
    yield site
    site.close()
    store.close()


@pytest.fixture
def claimed(site: Site) -> Site:
    site.apply()
    site.until(lambda: site.origins() == {"array": "object"})
    return site


def test_back_ends_come_from_files_and_objects_with_equal_rights(claimed: Site) -> None:
    claimed.write("other")
    assert claimed.origins() == {"other": "file", "array": "object"}
    assert (claimed.sources.is_object("array"), claimed.sources.is_object("other")) == (True, False)
    assert claimed.sources.unreadable() == {}
    assert claimed.claims() == {"array": "array"}
    metadata = claimed.found()["metadata"]
    assert (metadata["finalizers"], metadata["labels"]) == ([FINALIZER], MINE)


def test_a_new_object_does_not_take_the_name_of_a_back_end_of_a_file(site: Site) -> None:
    site.write()
    site.apply()
    site.until(lambda: site.refusal()[0] == "NameInUse")
    assert "already configured in the file a.yaml; remove it there, or rename the object" in site.refusal()[1]
    assert site.origins() == {"array": "file"}
    assert site.sources.unreadable() == {}, "nothing is wrong with the file"
    assert site.claims() == {}
    assert "finalizers" not in site.found()["metadata"]
    (site.directory / "a.yaml").unlink()
    assert site.origins() == {"array": "object"}


def test_marks_that_a_tool_restored_are_no_claim(site: Site) -> None:
    """`kubectl get -o yaml` in Git, or a backup, has the label and the finalizer."""
    site.write()
    spec = {"driver": DRIVER, "options": {"from": "object"}}
    site.cluster.apply(PATH, "array", {"spec": spec}, labels=MINE, finalizers=[FINALIZER])
    site.until(lambda: site.refusal()[0] == "NameInUse")
    assert site.origins() == {"array": "file"}


def test_a_new_file_does_not_take_the_name_of_a_claimed_object(claimed: Site) -> None:
    claimed.write()
    assert claimed.origins() == {"array": "object"}
    assert claimed.sources.unreadable()["array"] == (
        "belongs to the BackendConfiguration 'array'; its configuration in the file a.yaml has no effect"
    )
    assert claimed.sources.has_file("array")


def test_after_a_restart_the_claim_decides_although_the_api_server_is_slow(claimed: Site) -> None:
    claimed.write()
    claimed.cluster.refused = {"list": 503}
    claimed.start(seconds=0.1)
    configured = claimed.read()
    assert (configured.backends, configured.keeps("array")) == ((), True), "the file must not serve its volumes"
    assert "'array', which cannot be read yet" in claimed.sources.unreadable()["array"]
    claimed.cluster.refused = {}
    claimed.until(lambda: claimed.origins() == {"array": "object"})


def test_a_file_that_cannot_be_read_may_configure_any_name(site: Site) -> None:
    (site.directory / "a.yaml").write_text("array: [")
    site.apply()
    site.until(lambda: site.refusal()[0] == "NotClaimed")
    assert "files that cannot be read may configure back end 'array'" in site.refusal()[1]
    assert site.claims() == {}
    site.write()
    assert site.origins() == {"array": "file"}


def test_the_name_of_a_file_that_cannot_be_read_any_more_stays_taken(site: Site) -> None:
    site.write()
    site.read()
    (site.directory / "a.yaml").write_text("array: [")
    site.apply()
    site.until(lambda: site.refusal()[0] == "NameInUse")
    configured = site.read()
    assert (configured.backends, configured.keeps("array"), site.claims()) == ((), True, {})


@pytest.mark.parametrize("with_file", [False, True], ids=["alone", "with a file of its name"])
def test_a_refused_object_keeps_its_running_back_end(claimed: Site, with_file: bool) -> None:
    if with_file:
        claimed.write()
    claimed.apply(paused=5)
    claimed.until(lambda: claimed.refusal()[0] == "InvalidSpec")
    configured = claimed.read()
    assert configured.backends == ()
    assert configured.keeps("array")
    assert "spec.paused" in claimed.sources.unreadable()["array"]
    assert "the previous configuration stays in use" in claimed.sources.unreadable()["array"]


@pytest.mark.parametrize("name", ["other", None], ids=["changed", "removed"])
def test_the_name_of_a_back_end_cannot_change(site: Site, name: str | None) -> None:
    """The API server refuses it; a definition of an earlier version may not."""
    known = "array1-02ad1e7a"
    site.apply(known, name="Array1")
    site.until(lambda: site.origins() == {"Array1": "object"})
    site.apply(known, **({"name": name} if name else {}))
    site.until(lambda: site.refusal(known)[0] == "InvalidSpec")
    assert "cannot change, because volumes refer to it; set it back to 'Array1'" in site.refusal(known)[1]
    configured = site.read()
    assert (configured.backends, configured.keeps("Array1")) == ((), True)
    assert site.claims() == {"Array1": known}


def test_a_label_of_a_person_changes_nothing_for_a_claimed_object(claimed: Site) -> None:
    found = claimed.found()
    claimed.cluster.apply(PATH, "array", found, labels={"cinderlib.io/backend": "array", OWNER: "other"}, finalizers=[])
    claimed.until(lambda: FINALIZER in claimed.found()["metadata"]["finalizers"] or claimed.read() is None)
    assert claimed.origins() == {"array": "object"}
    assert claimed.claims() == {"array": "array"}


def test_a_removed_object_ends_its_back_end_although_a_file_cannot_be_read(claimed: Site) -> None:
    (claimed.directory / "b.yaml").write_text("other: [")
    claimed.cluster.apply(PATH, "array", claimed.found(), finalizers=[])
    claimed.cluster.drop(f"{PATH}/array")
    claimed.until(lambda: not claimed.read().keeps("array"))
    assert claimed.read().keeps("other")
    assert claimed.claims() == {}


def test_another_object_of_the_name_has_to_claim_it_anew(claimed: Site) -> None:
    claimed.cluster.apply(PATH, "array", claimed.found(), finalizers=[])
    claimed.cluster.drop(f"{PATH}/array")
    claimed.apply()
    uid = claimed.found()["metadata"]["uid"]
    claimed.until(lambda: [claim.uid for claim in read(claimed.store)] == [uid] or claimed.read() is None)
    assert claimed.origins() == {"array": "object"}


def test_a_claim_that_cannot_be_read_is_not_overruled(site: Site) -> None:
    assert isinstance(site.store, MemoryStore)
    site.store.add(KeyValue(id="csi-cinderlib.back-end.array", value="{"))
    site.start()
    site.write()
    site.apply()
    site.until(lambda: site.refusal()[0] == "NameInUse")
    assert "cannot be read; restore it, or remove it with its object" in site.refusal()[1]
    assert site.read().backends == ()
    assert site.sources.is_unreadable("array")


def test_an_object_of_another_csi_driver_is_left_alone(claimed: Site) -> None:
    claimed.close()
    other = open_store("memory", {}, state_dir=claimed.directory)
    claimed.store = other
    claimed.start("other.example.org")
    assert claimed.state() is None
    assert read(other) == ()
    other.close()


def test_another_csi_driver_with_the_same_store_takes_neither_object_nor_name(claimed: Site) -> None:
    claimed.write()
    claimed.start("other.example.org")
    assert claimed.state() is None
    assert claimed.read().backends == ()
    reason = claimed.sources.unreadable()["array"]
    assert "belongs to the BackendConfiguration 'array' of the CSI driver 'csi.cinderlib.io'" in reason


def test_a_killed_claim_is_completed_by_the_next_controller(site: Site) -> None:
    """Between the mark and the claim: tests/cluster/store kills a real controller there."""
    site.cluster.apply(
        PATH, "array", {"spec": {"driver": DRIVER, "options": {"from": "object"}}}, labels=MINE, finalizers=[FINALIZER]
    )
    site.start()
    assert site.origins() == {"array": "object"}
    assert site.claims() == {"array": "array"}


def test_an_object_has_one_claim_at_most() -> None:
    store = MemoryStore()
    claims = Claims(store)
    claims.take(Claim(backend="a", uid="u", object="a", driver="d"))
    with pytest.raises(AlreadyExists):
        claims.take(Claim(backend="b", uid="u", object="a", driver="d"))
    with pytest.raises(AlreadyExists):
        claims.take(Claim(backend="a", uid="v", object="a", driver="d"))
    assert [claim.uid for claim in claims.all()] == ["u"]
    assert claims.gone({"u"}) == ()
    (gone,) = claims.gone(())
    claims.drop(replace(gone, uid="v"))
    assert [claim.uid for claim in read(store)] == ["u"], "a claim of another object is not removed"
    claims = Claims(store)
    claims.drop(gone)
    assert claims.all() == read(store) == ()


def test_key_paths_are_those_of_the_object_only_for_objects(claimed: Site) -> None:
    assert claimed.sources.explained("array", "backends.array.options.x: wrong") == "spec.options.x: wrong"
    assert claimed.sources.explained("other", "backends.other.options.x: wrong") == "backends.other.options.x: wrong"


def test_the_values_of_a_secret_are_marked_by_their_origin(site: Site) -> None:
    site.cluster.apply(SECRETS, "s1", {"data": {"san_mode": "Y2FuYXJ5"}})
    site.apply(secretRef={"name": "s1"})
    site.until(lambda: site.origins() == {"array": "object"})
    (backend,) = site.read().backends
    assert backend.origins == {"san_mode": "secret s1, key san_mode"}
    assert "canary" not in repr(backend)
