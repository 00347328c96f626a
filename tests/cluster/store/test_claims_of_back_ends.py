"""What people, tools, earlier versions and crashes do to objects of back ends, on a real API server."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from csi_cinderlib.app import configured
from csi_cinderlib.app.repairing import repairing
from csi_cinderlib.commands import adopt_target, bundle
from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.lifecycle import claims
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.kubernetes.resources import BACKEND, CONFIGURATION, RESTARTED_AT
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client, from_kubeconfig
from csi_cinderlib.persistence.kubernetes.statuses import OWNER, object_name
from tests.cluster.bed.back_end_site import DRIVER, Site
from tests.support.processes import drivers

pytestmark = pytest.mark.cluster

PASSWORD = "canary-hunter2"


def claimed(site: Site) -> dict[str, str]:
    store = site.namespace.store(site.sealer)
    found = {claim.backend: claim.object for claim in claims.read(store)}
    store.close()
    return found


def with_volume(site: Site, backend: str) -> Volume:
    store = site.namespace.store(None)
    volume = store.add(Volume(id="v1", backend=backend, size=GiB(1), status=Status.AVAILABLE))
    store.close()
    return volume


def remove(site: Site, volume: Volume) -> None:
    store = site.namespace.store(None)
    store.remove(volume)
    store.close()


def test_the_name_of_a_back_end_is_immutable(site: Site) -> None:
    site.start().wait_until_ready()
    known = object_name("Array1")
    site.apply(known, name="Array1")
    site.wait(known, "Ready")
    for spec in ({}, {"name": "other"}):
        with pytest.raises(RuntimeError, match="name is immutable, because the volumes of the back end refer to it"):
            site.apply(known, **spec)
    with_volume(site, "Array1")
    site.kubectl("delete", "backendconfiguration", known, "--wait=false")
    site.until(lambda: site.condition(known, "Deleting")[1] == "VolumesExist")
    assert set(drivers(site.driver.pid)) == {"Array1"}


def test_a_volume_of_the_cluster_without_a_record_keeps_the_object(site: Site) -> None:
    """As after a restore of older records. Snapshots are not installed here."""
    admin, volumes = site.namespace.server.admin, "/api/v1/persistentvolumes"
    name = f"pvc-{site.namespace.name}"
    csi = {"driver": site.driver_name, "volumeHandle": "lost"}
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": csi}
    admin.post(volumes, {"metadata": {"name": name}, "spec": spec})
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    site.kubectl("delete", "backendconfiguration", "array1", "--wait=false")
    site.until(
        lambda: (
            "1 PersistentVolume or VolumeSnapshotContent without a record" in site.condition("array1", "Deleting")[2]
        )
    )
    admin.patch(f"{volumes}/{name}", [{"op": "remove", "path": "/metadata/finalizers"}])  # no controller does it here
    admin.delete(f"{volumes}/{name}")
    site.until(lambda: site.names() == set())


def test_labels_and_removed_finalizers_do_not_free_a_back_end(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    volume = with_volume(site, "array1")
    site.kubectl(
        "label", "backendconfiguration", "array1", "cinderlib.io/backend=array1", f"{OWNER}=other", "--overwrite"
    )
    site.kubectl("patch", "backendconfiguration", "array1", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    site.until(lambda: site.read("array1")["metadata"].get("finalizers") == [FINALIZER])
    pid = drivers(site.driver.pid)["array1"]
    site.kubectl("delete", "backendconfiguration", "array1", "--wait=false")
    site.until(lambda: site.condition("array1", "Deleting")[1] == "VolumesExist")
    assert drivers(site.driver.pid)["array1"] == pid
    remove(site, volume)
    site.until(lambda: site.names() == set())
    site.until(lambda: claimed(site) == {})


def test_an_earlier_controller_cannot_delete_what_configures_a_back_end(site: Site) -> None:
    """It removes each StorageBackend that it does not know, and knows no other kind."""
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    site.until(lambda: site.shown("array1").get("ready"))
    shown = site.namespace.objects(BACKEND.plural)
    assert [item["spec"] for item in shown] == [{"name": "array1", "driver": DRIVER}]
    assert "finalizers" not in shown[0]["metadata"]
    site.driver.stop()
    site.kubectl("delete", "storagebackends", "--all", "--timeout=60s")
    assert "deletionTimestamp" not in site.read("array1")["metadata"]
    site.start("again").wait_until_ready()
    site.wait("array1", "Ready")


def test_the_right_to_restart_a_back_end_does_not_reach_its_configuration(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    site.until(lambda: site.shown("array1").get("ready"))
    space = site.namespace
    token = space.server.service_account_token(space.name, "operator")
    space.grant(
        "operator", "operator", [{"apiGroups": ["cinderlib.io"], "resources": ["storagebackends"], "verbs": ["patch"]}]
    )
    client = Client(from_kubeconfig(space.server.write_kubeconfig(space.folder / "operator.kubeconfig", token)))
    change = [{"op": "replace", "path": "/spec/driver", "value": "x.Other"}]
    with pytest.raises(ApiError, match="403"):
        client.patch(CONFIGURATION.path(space.name, "array1"), change)
    pid = drivers(site.driver.pid)["array1"]
    client.patch(
        BACKEND.path(space.name, "array1"),
        [{"op": "add", "path": "/metadata/annotations", "value": {RESTARTED_AT: "1"}}],
    )
    site.until(lambda: drivers(site.driver.pid).get("array1", pid) != pid)
    client.close()


@pytest.mark.parametrize("point", ["back-end.marked", "back-end.claimed"])
def test_a_controller_killed_while_it_claims_an_object_leaves_nothing_half_done(site: Site, point: str) -> None:
    site.start(fault=point).wait_until_ready()
    site.apply("array1")
    assert site.driver.wait(60) == -signal.SIGKILL
    site.start("again").wait_until_ready()
    site.wait("array1", "Ready", 120)
    assert claimed(site) == {"array1": "array1"}
    site.kubectl("delete", "backendconfiguration", "array1", "--timeout=60s")
    site.until(lambda: claimed(site) == {})


@pytest.mark.parametrize("point", ["back-end.proven-empty", "back-end.released"])
def test_a_controller_killed_while_it_releases_an_object_leaves_nothing_half_done(site: Site, point: str) -> None:
    site.start(fault=point).wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    site.kubectl("delete", "backendconfiguration", "array1", "--wait=false")
    assert site.driver.wait(60) == -signal.SIGKILL
    site.start("again").wait_until_ready()
    site.until(lambda: site.names() == set())
    site.until(lambda: claimed(site) == {})
    site.apply("array1")
    site.wait("array1", "Ready", 120)
    assert claimed(site) == {"array1": "array1"}


def test_the_values_of_a_secret_are_shown_nowhere_whatever_their_keys(site: Site) -> None:
    site.let_read("s1")
    site.secret("s1", nothing_port=PASSWORD, nothing_mode=PASSWORD)
    site.start().wait_until_ready()
    site.apply("array1", secretRef={"name": "s1"})
    site.until(
        lambda: "secret s1, key nothing_port: invalid value; expected" in site.condition("array1", "Accepted")[2]
    )
    site.until(lambda: "secret s1, key nothing_mode: invalid value; expected" in site.shown("array1").get("reason", ""))
    seen = site.kubectl("get", "clbe,clbc,events", "-o", "yaml")
    assert PASSWORD not in seen + site.driver.log()


def test_a_refusal_of_any_length_is_shown(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1", options={f"option_{number}": "5" for number in range(1000)})
    site.until(lambda: site.condition("array1", "Accepted")[1] == "OptionsRejected")
    assert site.condition("array1", "Accepted")[2].endswith(" ...")


def test_topologies_are_reported_before_any_back_end_has_one(site: Site) -> None:
    site.start().wait_until_ready()
    answer = csi_pb2_grpc.IdentityStub(site.driver.channel).GetPluginCapabilities(
        csi_pb2.GetPluginCapabilitiesRequest()
    )
    kinds = {capability.service.type for capability in answer.capabilities if capability.HasField("service")}
    assert csi_pb2.PluginCapability.Service.VOLUME_ACCESSIBILITY_CONSTRAINTS in kinds


def test_commands_know_the_back_ends_of_objects(site: Site) -> None:
    site.let_read("s1")
    site.secret("s1", nothing_password=PASSWORD, nothing_mode="slow")
    (site.directory / "a.yaml").write_text(f"filed: {{driver: {DRIVER}}}\n")
    site.start().wait_until_ready()
    site.apply("array1", secretRef={"name": "s1"})
    site.wait("array1", "Ready")
    site.apply("array2", options={"nothing_port": 5, "nothing_pools": [1]})
    site.until(lambda: site.condition("array2", "Accepted")[1] == "InvalidSpec")
    (site.directory / "b.yaml").write_text("array1: {driver: x.Wrong}\n")
    site.driver.stop()
    assert set(adopt_target.backends(site.settings)) == {"filed", "array1"}
    found = {backend.name: backend for backend in configured.backends(site.settings).found.backends}
    assert found["array1"].driver == DRIVER, "the claim decides, not the file"
    assert found["array1"].options["nothing_password"] == PASSWORD
    source = bundle.Source(site.settings)
    assert PASSWORD in set(bundle.secrets(source))
    assert "slow" not in json.dumps(bundle.settings(source)), "by its origin, not by its name"

    rows: dict[str, Any] = {row["name"]: row for row in site.command("get", "backends")}
    assert rows["array1"]["driver"] == rows["filed"]["driver"] == DRIVER
    assert rows["array2"]["state"] == "unreadable"
    assert "spec.options.nothing_pools" in rows["array2"]["reason"]


def test_orphans_are_fixed_on_back_ends_of_objects_while_no_controller_runs(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    site.driver.stop()
    with repairing(site.settings, {"array1"}) as orphans:
        assert orphans._backends.get("array1").ready
