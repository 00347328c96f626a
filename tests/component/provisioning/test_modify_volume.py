"""ControllerModifyVolume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.errors import (
    BackendError,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
    Unsupported,
)
from csi_cinderlib.model.records import Modification, Status, Volume, VolumeType
from csi_cinderlib.model.requests import ModifyVolume
from csi_cinderlib.provisioning import locking

from .conftest import GOLD, Configure, Site, driver_of

FILES = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
RETYPING = "tests.support.fakes.retyping.RetypingDriver"


@pytest.fixture
def site(empty_site: Site) -> Site:
    silver = VolumeType(name="silver", extra_specs={"vendor:tier": "2", "vendor:dedup": "on"})
    empty_site.types = {"gold": GOLD, "silver": silver, "many": VolumeType(extra_specs={"multiattach": "<is> True"})}
    empty_site.add_backend("array", driver=RETYPING)
    return empty_site


@pytest.fixture
def driver(site: Site) -> Any:
    return driver_of(site, "array")


def modify(site: Site, volume: Volume, parameters: Mapping[str, str]) -> Volume:
    return site.volumes.modify(ModifyVolume(volume_id=volume.id, mutable_parameters=parameters))


def stored(site: Site, volume: Volume) -> Volume:
    return site.store.get(Volume, volume.id)


def test_given_parameters_change_and_others_keep_their_values(site: Site, driver: Any) -> None:
    volume = site.create(parameters={"type": "gold", "extraSpecs/vendor:cache": "on"})
    modified = modify(site, volume, {"qos/maxIOPS": "500", "extraSpecs/vendor:tier": "3"})
    assert driver.properties[volume.id] == {
        "extraSpecs/vendor:tier": "3",
        "extraSpecs/vendor:cache": "on",
        "qos/maxIOPS": "500",
    }
    assert modified == stored(site, volume)
    assert modified.type == VolumeType(
        name="gold", extra_specs={"vendor:tier": "3", "vendor:cache": "on"}, qos_specs={"maxIOPS": "500"}
    )
    assert modified.mutable_parameters == {"qos/maxIOPS": "500", "extraSpecs/vendor:tier": "3"}
    assert (modified.modification, modified.owner, modified.provider.id) == (None, "", "modified 1")


def test_the_driver_gets_what_cinder_gives_it(site: Site, driver: Any) -> None:
    volume = site.create(parameters={"qos/maxIOPS": "100"})
    modify(site, volume, {"qos/maxIOPS": "500"})
    ((old, new, diff, host),) = driver.asked
    assert (old, new) == ({"qos/maxIOPS": "100"}, {"qos/maxIOPS": "500"})
    assert diff == {
        "extra_specs": {},
        "qos_specs": {"consumer": ("back-end", "back-end"), "maxIOPS": ("100", "500")},
        "encryption": {},
    }
    assert host["host"] == volume.host
    assert host["capabilities"]["pool_name"] == volume.pool
    assert host["capabilities"]["vendor_name"] == "Nobody"


def test_the_same_parameters_again_do_not_call_the_driver(site: Site, driver: Any) -> None:
    volume = site.create()
    for _ in range(2):
        modified = modify(site, volume, {"qos/maxIOPS": "500"})
    assert len(driver.asked) == 1
    assert modified.type == VolumeType(qos_specs={"maxIOPS": "500"})


def test_an_empty_value_removes_a_property(site: Site, driver: Any) -> None:
    volume = site.create(parameters={"qos/maxIOPS": "100", "extraSpecs/vendor:tier": "1"})
    modified = modify(site, volume, {"qos/maxIOPS": "", "extraSpecs/vendor:tier": ""})
    assert driver.properties[volume.id] == {}
    assert modified.type is None


def test_a_named_type_replaces_that_of_the_class_and_what_it_had_set(site: Site, driver: Any) -> None:
    volume = site.create(parameters={"type": "gold", "extraSpecs/vendor:cache": "on"})
    modified = modify(site, volume, {"type": "silver"})
    assert modified.type == VolumeType(
        name="silver", extra_specs={"vendor:cache": "on", "vendor:tier": "2", "vendor:dedup": "on"}
    )
    again = modify(site, volume, {"type": "gold"})
    assert again.type == volume.type
    assert driver.properties[volume.id]["qos/maxIOPS"] == "100"


@pytest.mark.parametrize("edited", [True, False])
def test_a_named_type_that_was_edited_or_removed_since_does_not_matter(edited: bool, site: Site, driver: Any) -> None:
    volume = site.create(parameters={"type": "gold"})
    before = dict(driver.properties[volume.id])
    site.types = {"gold": VolumeType(name="gold", extra_specs={"other:thing": "x"})} if edited else {}
    modified = modify(site, volume, {"qos/maxIOPS": "5"})
    assert driver.properties[volume.id] == before | {"qos/maxIOPS": "5"}
    assert modified.type is not None
    assert modified.type.name == "gold"
    with pytest.raises(InvalidRequest if not edited else Unsupported):
        modify(site, modified, {"type": "gold"})


def test_a_volume_created_with_mutable_parameters_can_go_back(site: Site, driver: Any) -> None:
    volume = site.create(mutable_parameters={"qos/maxIOPS": "500"})
    modify(site, volume, {"qos/maxIOPS": "100"})
    modify(site, volume, {"qos/maxIOPS": "500"})
    assert driver.properties[volume.id] == {"qos/maxIOPS": "500"}
    assert stored(site, volume) == replace(
        volume, revision=stored(site, volume).revision, provider=replace(volume.provider, id="modified 2")
    )


def test_an_attached_volume_is_modified_and_the_driver_sees_that_it_is_in_use(site: Site, driver: Any) -> None:
    volume = site.create()
    site.publish(volume, site.node("n1"))
    modify(site, volume, {"qos/maxIOPS": "500"})
    assert driver.properties[volume.id] == {"qos/maxIOPS": "500"}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"backend": "array"}, "mutable_parameters[backend]"),
        ({"qos/": "1"}, "mutable_parameters[qos/]"),
        ({"type": "bronze"}, "mutable_parameters[type]"),
        ({"type": "many"}, "mutable_parameters[type]"),
        ({"extraSpecs/multiattach": "<is> True"}, "mutable_parameters[extraSpecs/multiattach]"),
        ({"extraSpecs/vendor_name": "another"}, "mutable_parameters[extraSpecs/vendor_name]"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name_and_nothing_changes(
    site: Site, driver: Any, parameters: Mapping[str, str], named: str
) -> None:
    volume = site.create(parameters={"qos/maxIOPS": "100"})
    with pytest.raises(InvalidRequest) as refused:
        modify(site, volume, {"qos/maxIOPS": "500", **parameters})
    assert refused.value.field == named
    assert stored(site, volume) == volume
    assert driver.asked == []


def test_a_mutable_parameter_that_no_pool_offers_is_named_at_creation(site: Site, driver: Any) -> None:
    for mutable in ({"extraSpecs/vendor_name": "other"}, {"qos/iops": "5", "extraSpecs/vendor_name": "other"}):
        with pytest.raises(InvalidRequest) as refused:
            site.create(mutable_parameters=mutable)
        assert refused.value.field == "mutable_parameters[extraSpecs/vendor_name]"
    assert driver.volumes == {}


def test_the_file_driver_names_what_it_does_not_evaluate(site: Site) -> None:
    files = site.add_backend("files", driver=FILES)
    volume = site.create(parameters={"backend": "files"})
    for wanted, named, why in (
        ({"extraSpecs/vendor:tier": "1"}, "extraSpecs/vendor:tier", "supported: provisioning:type"),
        ({"extraSpecs/provisioning:type": "quick"}, "extraSpecs/provisioning:type", "supported: thin, thick"),
        ({"qos/iops": "5"}, "qos/iops", "QoS is not supported"),
    ):
        with pytest.raises(InvalidRequest, match=why) as refused:
            modify(site, volume, wanted)
        assert refused.value.field == f"mutable_parameters[{named}]"
        with pytest.raises(InvalidRequest, match=why) as refused:
            site.create("another", parameters={"backend": "files"}, mutable_parameters=wanted)
        assert refused.value.field == f"mutable_parameters[{named}]"
    assert stored(site, volume) == volume
    modify(site, volume, {"extraSpecs/provisioning:type": "thick"})
    file = Path(files.local_path(SimpleNamespace(id=volume.id, name=f"volume-{volume.id}", host="")))
    assert file.stat().st_blocks * 512 >= 1024**3
    site.volumes.delete(volume.id)
    assert not file.exists()


def test_a_property_that_the_driver_cannot_change_in_place_is_refused_by_name(site: Site, driver: Any) -> None:
    volume = site.create()
    driver.fixed = {"extraSpecs/vendor:tier"}
    with pytest.raises(Unsupported, match="extraSpecs/vendor:tier, qos/maxIOPS"):
        modify(site, volume, {"qos/maxIOPS": "500", "extraSpecs/vendor:tier": "3"})
    left = stored(site, volume)
    assert (left.type, left.mutable_parameters, left.modification, left.owner) == (None, {}, None, "")
    assert driver.properties[volume.id] == {}


def test_a_back_end_without_retype_refuses_and_nothing_changes(site: Site) -> None:
    site.add_backend("plain")
    volume = site.create(parameters={"backend": "plain"}, mutable_parameters={"qos/maxIOPS": "100"})
    with pytest.raises(Unsupported, match="back end 'plain' cannot change volume"):
        modify(site, volume, {"qos/maxIOPS": "500"})
    assert stored(site, volume) == volume
    assert modify(site, volume, {"qos/maxIOPS": "100"}) == volume


def test_a_failure_half_way_is_finished_by_the_same_call(site: Site, driver: Any, configure: Configure) -> None:
    volume = site.create(parameters={"qos/a": "1", "qos/b": "1"})
    configure(fail=["retype_half"])
    with pytest.raises(BackendError, match="the array says no"):
        modify(site, volume, {"qos/a": "2", "qos/b": "2"})
    left = stored(site, volume)
    assert (left.type, left.mutable_parameters, left.owner) == (volume.type, {}, "")
    assert left.modification == Modification(
        origin=volume.type,
        wanted=VolumeType(qos_specs={"a": "2", "b": "2"}),
        mutable_parameters={"qos/a": "2", "qos/b": "2"},
        begun_at=left.modification.begun_at if left.modification else "",
        message="back end 'array': the array says no",
    )
    configure(fail=[])
    modified = modify(site, volume, {"qos/a": "2", "qos/b": "2"})
    assert driver.properties[volume.id] == {"qos/a": "2", "qos/b": "2"}
    assert modified.modification is None


@pytest.mark.parametrize("wanted", ["1", "2"])
def test_a_pool_that_no_longer_offers_a_property_ends_what_has_begun(
    wanted: str, site: Site, driver: Any, configure: Configure
) -> None:
    volume = site.create(mutable_parameters={"qos/a": "1", "qos/b": "1"})
    configure(fail=["retype_half"])
    with pytest.raises(BackendError):
        modify(site, volume, {"qos/a": "2", "qos/b": "2"})
    configure(fail=[])
    report = driver.get_volume_stats
    driver.get_volume_stats = lambda refresh=False: _without_qos(report(refresh))
    site.backends.get("array").stats(refresh=True)
    with pytest.raises(InvalidRequest, match="QoS is not supported"):
        modify(site, volume, {"qos/a": "3"})
    modify(site, volume, {"qos/a": wanted, "qos/b": wanted})
    assert stored(site, volume).modification is None
    assert driver.properties[volume.id] == {"qos/a": wanted, "qos/b": wanted}


def _without_qos(report: Any) -> Any:
    return {**report, "pools": [{**pool, "QoS_support": False} for pool in report["pools"]]}


def test_a_lack_of_space_is_no_call_in_progress(site: Site, configure: Configure) -> None:
    """The resizer would not let the claim return to its former class."""
    volume = site.create()
    configure(fail=["retype"], error="no space left in the pool")
    with pytest.raises(PreconditionFailed, match="no space left in the pool"):
        modify(site, volume, {"qos/a": "2"})


def test_after_a_failure_half_way_the_old_parameters_restore_everything(
    site: Site, driver: Any, configure: Configure
) -> None:
    volume = site.create(mutable_parameters={"qos/a": "1", "qos/b": "1"})
    configure(fail=["retype_half"])
    with pytest.raises(BackendError):
        modify(site, volume, {"qos/a": "2", "qos/b": "2"})
    assert driver.properties[volume.id] == {"qos/a": "2", "qos/b": "1"}
    configure(fail=[])
    restored = modify(site, volume, {"qos/a": "1", "qos/b": "1"})
    assert driver.properties[volume.id] == {"qos/a": "1", "qos/b": "1"}
    assert (restored.type, restored.mutable_parameters, restored.modification) == (
        volume.type,
        volume.mutable_parameters,
        None,
    )


def test_other_parameters_withdraw_what_an_unfinished_modification_may_have_set(
    site: Site, driver: Any, configure: Configure
) -> None:
    volume = site.create(parameters={"qos/a": "1", "qos/b": "1"})
    configure(fail=["retype_half"])
    for wanted in ({"qos/a": "2"}, {"qos/a": "3"}):
        with pytest.raises(BackendError):
            modify(site, volume, wanted)
    configure(fail=[])
    modify(site, volume, {"qos/b": "2"})
    assert driver.properties[volume.id] == {"qos/a": "1", "qos/b": "2"}


def test_a_volume_with_an_unfinished_modification_stays_usable(site: Site, driver: Any, configure: Configure) -> None:
    volume = site.create()
    configure(fail=["retype"])
    with pytest.raises(BackendError):
        modify(site, volume, {"qos/a": "2"})
    assert stored(site, volume).status is Status.AVAILABLE
    site.publish(volume, site.node("n1"))
    site.attachments.unpublish(volume.id, "n1")
    site.volumes.delete(volume.id)
    assert driver.volumes == {}


def test_a_missing_volume_is_not_found(site: Site) -> None:
    with pytest.raises(NotFound):
        site.volumes.modify(ModifyVolume(volume_id="gone", mutable_parameters={"qos/a": "2"}))


def test_a_volume_that_is_being_deleted_is_not_modified(site: Site, driver: Any) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=Status.DELETING))
    with pytest.raises(PreconditionFailed):
        modify(site, volume, {"qos/a": "2"})
    assert driver.asked == []


def test_a_member_of_a_group_is_not_modified(site: Site, driver: Any) -> None:
    volume = site.create()
    site.store.replace(replace(volume, group_id="g"))
    with pytest.raises(PreconditionFailed, match="group 'g'"):
        modify(site, volume, {"qos/a": "2"})
    assert driver.asked == []


@pytest.mark.parametrize("lock", [locking.volume, locking.attachments])
def test_another_call_on_the_volume_or_its_attachments_makes_it_wait(site: Site, lock: Any) -> None:
    volume = site.create()
    with site.locks.hold(lock(volume.id)), pytest.raises(OperationPending):
        modify(site, volume, {"qos/a": "2"})


def test_front_end_qos_of_an_adopted_volume_is_not_changed(site: Site, driver: Any) -> None:
    volume = site.create()
    limited = VolumeType(qos_specs={"total_iops_sec": "100"}, qos_consumer="front-end")
    adopted = site.store.replace(replace(volume, type=limited))
    with pytest.raises(InvalidRequest, match="only a hypervisor can enforce"):
        modify(site, volume, {"qos/total_iops_sec": "200"})
    assert stored(site, volume) == adopted
    assert driver.asked == []
