"""Back ends that BackendConfiguration objects configure, on a real API server, with the chart's rights."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from tests.cluster.bed.back_end_site import DRIVER, Site
from tests.support.processes import drivers

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
PASSWORD = "canary-hunter2"
SOON = 60.0
"""Deadline for a change, which usually is effective within three seconds."""


def test_an_applied_object_becomes_a_ready_back_end_and_a_change_is_effective_in_seconds(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1", options={"nothing_pools": ["first"]})
    site.wait("array1", "Ready", SOON)
    found = site.read("array1")
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    conditions = site.conditions("array1")
    assert {kind: item["status"] for kind, item in conditions.items()} == {
        "Ready": "True",
        "Accepted": "True",
        "Paused": "False",
        "Drained": "False",
    }
    assert all(item["lastTransitionTime"] and item["observedGeneration"] == 1 for item in conditions.values())

    (row,) = site.command("get", "backends")
    assert (row["name"], row["state"], row["driver"]) == ("array1", "ready", DRIVER)

    pid = drivers(site.driver.pid)["array1"]
    site.apply("array1", options={"nothing_pools": ["second"]})
    site.wait("array1", "Ready", SOON)
    assert drivers(site.driver.pid)["array1"] != pid

    site.kubectl("delete", "backendconfiguration", "array1", "--timeout=60s")
    assert site.names() == set()
    site.until(lambda: "array1" not in drivers(site.driver.pid))


def test_pausing_and_draining_need_no_restart_of_the_driver(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    pid = drivers(site.driver.pid)["array1"]
    site.apply("array1", paused=True)
    site.wait("array1", "Paused", SOON)
    site.apply("array1", drained=True)
    site.wait("array1", "Paused=False", SOON)
    site.wait("array1", "Drained", SOON)
    assert site.condition("array1", "Drained")[1] == "Empty"
    assert drivers(site.driver.pid)["array1"] == pid
    assert site.condition("array1", "Ready")[0] == "True"


def test_a_back_end_with_volumes_is_not_deleted_until_they_are_gone(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1")
    site.wait("array1", "Ready")
    store = site.namespace.store(None)
    volume = store.add(Volume(id="v1", backend="array1", size=GiB(1), status=Status.AVAILABLE))
    site.kubectl("delete", "backendconfiguration", "array1", "--wait=false")
    site.wait("array1", "Deleting", SOON)
    status, reason, message = site.condition("array1", "Deleting")
    assert (status, reason) == ("True", "VolumesExist")
    assert "still has 1 volume; it is removed when these are deleted" in message
    site.until(lambda: any(event[:2] == ("array1", "DeletionRefused") for event in site.events()))
    assert site.condition("array1", "Ready")[0] == "True", "its volumes stay usable"
    assert site.condition("array1", "Drained")[1] == "Draining"
    store.remove(volume)
    site.until(lambda: site.names() == set())
    store.close()


@pytest.mark.parametrize(
    ("changed", "reason", "message"),
    [
        ({"options": {"nothing_poools": "x"}}, "OptionsRejected", "spec.options.nothing_poools: is not an option"),
        ({"options": {"nothing_port": "99999999"}}, "OptionsRejected", "spec.options.nothing_port: invalid value"),
        ({"driver": "not_there.Driver"}, "OptionsRejected", "there is no driver 'not_there.Driver'"),
        ({"options": {"nothing_error": 12}}, "InvalidSpec", "spec.options.nothing_error: must be text"),
        (
            {"options": {"nothing_error": {"file": "/etc/passwd"}}},
            "InvalidSpec",
            "spec.options.nothing_error: must not refer to a file or variable of the controller",
        ),
    ],
    ids=["option", "value", "driver", "type", "file"],
)
def test_a_refused_change_is_named_and_the_working_back_end_goes_on(
    site: Site, changed: Json, reason: str, message: str
) -> None:
    site.start().wait_until_ready()
    site.apply("array1", options={"nothing_pools": ["first"]})
    site.wait("array1", "Ready")
    pid = drivers(site.driver.pid)["array1"]
    site.apply("array1", **changed)
    site.wait("array1", "Accepted=False", SOON)
    status, found, told = site.condition("array1", "Accepted")
    assert (status, found) == ("False", reason)
    assert message in told
    assert site.conditions("array1")["Accepted"]["observedGeneration"] == 2
    assert site.condition("array1", "Ready")[0] == "True"
    assert site.conditions("array1")["Ready"]["observedGeneration"] == 1, "`kubectl wait` does not take it for the new"
    assert drivers(site.driver.pid)["array1"] == pid

    site.apply("array1", options={"nothing_pools": ["first"]})
    site.wait("array1", "Accepted", SOON)
    assert site.conditions("array1")["Ready"]["observedGeneration"] == 3


def test_a_new_back_end_with_a_wrong_option_is_not_ready_until_it_is_corrected(site: Site) -> None:
    site.start().wait_until_ready()
    site.apply("array1", options={"nothing_poools": "x"})
    site.wait("array1", "Accepted=False", SOON)
    assert site.condition("array1", "Ready")[:2] == ("False", "OptionsRejected")
    assert "spec.options.nothing_poools: is not an option" in site.condition("array1", "Ready")[2]
    site.apply("array1")
    site.wait("array1", "Ready", SOON)
    site.wait("array1", "Accepted", SOON)


def test_a_rotated_secret_takes_effect_in_seconds_and_is_shown_nowhere(site: Site) -> None:
    site.let_read("array1")
    site.start().wait_until_ready()
    site.apply("array1", secretRef={"name": "array1"})
    site.until(lambda: site.condition("array1", "Accepted")[1] == "SecretNotFound")
    fails = {"nothing_fail": "check_for_setup_error", "nothing_error": f"no session for admin/{PASSWORD}"}
    site.secret("array1", nothing_password=PASSWORD, **fails)
    site.until(lambda: "set-up failed: ***" in site.condition("array1", "Ready")[2])
    site.secret("array1", nothing_password="another-canary-7")
    site.wait("array1", "Ready", SOON)
    site.secret("array1", nothing_pasword="x")
    site.wait("array1", "Accepted=False", SOON)
    assert "nothing_pasword" in site.condition("array1", "Accepted")[2]
    assert site.condition("array1", "Ready")[0] == "True", "the previous password stays in use"
    seen = site.kubectl("get", "clbe,clbc,events", "-o", "yaml") + site.driver.log()
    assert PASSWORD not in seen
    assert "another-canary-7" not in seen


def test_a_secret_that_the_controller_may_not_read_is_named_with_the_remedy(site: Site) -> None:
    site.let_read("another")
    site.secret("array1", nothing_password=PASSWORD)
    site.start().wait_until_ready()
    site.apply("array1", secretRef={"name": "array1"})
    site.wait("array1", "Accepted=False", SOON)
    site.until(lambda: site.condition("array1", "Accepted")[1] == "SecretNotReadable")
    assert "add it to `backendObjects.secrets`" in site.condition("array1", "Accepted")[2]
    assert "array1" not in drivers(site.driver.pid)


def test_an_object_cannot_take_the_name_of_a_back_end_of_a_file_until_it_leaves_the_file(site: Site) -> None:
    (site.directory / "a.yaml").write_text(f"array1: {{driver: {DRIVER}}}\n")
    site.start().wait_until_ready()
    site.until(lambda: site.shown("array1").get("ready"))
    site.apply("array1", options={"nothing_pools": ["second"]})
    site.until(lambda: site.condition("array1", "Accepted")[1] == "NameInUse")
    pid = drivers(site.driver.pid)["array1"]
    assert "already configured in the file a.yaml" in site.condition("array1", "Accepted")[2]
    assert site.condition("array1", "Ready")[:2] == ("False", "NameInUse")
    assert site.shown("array1")["ready"], "the back end of the file is not affected"
    assert drivers(site.driver.pid)["array1"] == pid
    (site.directory / "a.yaml").unlink()
    site.wait("array1", "Accepted", 60)
    site.wait("array1", "Ready", 60)
    assert site.read("array1")["metadata"]["finalizers"] == [FINALIZER]

    (site.directory / "b.yaml").write_text(f"array1: {{driver: {DRIVER}}}\n")
    site.until(lambda: "its configuration in the file b.yaml has no effect" in site.shown("array1")["reason"])
    store = site.namespace.store(None)
    store.add(Volume(id="v1", backend="array1", size=GiB(1), status=Status.AVAILABLE))
    site.kubectl("delete", "backendconfiguration", "array1", "--timeout=60s")  # the file takes over with the volumes
    site.until(lambda: site.shown("array1").get("ready") and not site.shown("array1")["reason"])
    store.close()


def test_objects_survive_a_restart_and_another_csi_driver_leaves_them_alone(site: Site) -> None:
    site.start("c1").wait_until_ready()
    site.apply("array1", name="array1")
    site.wait("array1", "Ready")
    site.driver.stop()
    site.start("c2", driver_name="other.example.org").wait_until_ready()
    site.apply("array2")
    site.wait("array2", "Ready")
    assert set(drivers(site.driver.pid)) == {"array2"}
    site.driver.stop()
    site.start("c3").wait_until_ready()
    site.until(lambda: set(drivers(site.driver.pid)) == {"array1"})


def test_the_definition_refuses_what_it_can_check(site: Site) -> None:
    for spec, message in (
        ({"driver": "Pure"}, "spec.driver"),
        ({"driver": ""}, "spec.driver"),
        ({"topology": {"zone": "rack 1"}}, "spec.topology"),
        ({"limits": {"maxConcurrentCalls": -1}}, "spec.limits.maxConcurrentCalls"),
        ({"secretRef": {}}, "spec.secretRef.name"),
        ({"pools": ["a", "a"]}, "spec.pools"),
        ({"name": "-x"}, "spec.name"),
    ):
        with pytest.raises(RuntimeError) as refused:
            site.apply("array1", **spec)
        assert message in str(refused.value)
