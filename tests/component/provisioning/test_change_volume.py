"""DeleteVolume, ControllerExpandVolume, ValidateVolumeCapabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    InUse,
    NotFound,
    OutOfRange,
    PreconditionFailed,
)
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.requests import Expanded, ExpandVolume, ValidateCapabilities
from csi_cinderlib.model.size import Bytes, GiB, SizeRange
from csi_cinderlib.provisioning.volumes import node_expansion_required

from .conftest import BLOCK, GIB, MOUNT, SHARED, Configure, Damaged, Site, snapshotting


def expand(
    site: Site, volume: Volume, gib: float, *, limit: float = 0, capability: Capability | None = MOUNT
) -> Expanded:
    size = SizeRange(Bytes(int(gib * GIB)), Bytes(int(limit * GIB)))
    return site.volumes.expand(ExpandVolume(volume_id=volume.id, size=size, capability=capability))


def stored(site: Site, volume: Volume) -> Volume:
    return site.store.get(Volume, volume.id)


def test_delete_removes_volume_and_record_and_is_fine_again(site: Site, driver: Any) -> None:
    volume = site.create()
    for _ in range(2):
        site.volumes.delete(volume.id)
    assert driver.volumes == {}
    assert site.store.page(Volume, where={}).records == ()
    site.volumes.delete("never-heard-of")


def test_a_volume_in_use_is_not_deleted_and_stays_whole(site: Site, driver: Any) -> None:
    attached, snapped = site.create("attached"), site.create("snapped")
    site.publish(attached, site.node("n1"))
    site.snapshots.create(snapshotting(snapped))
    before = stored(site, snapped)
    for volume in (attached, snapped):
        with pytest.raises(InUse):
            site.volumes.delete(volume.id)
        assert volume.id in driver.volumes
        assert stored(site, volume).status is Status.AVAILABLE
    assert replace(stored(site, snapped), revision="") == replace(before, revision="")


@pytest.mark.parametrize("status", [Status.DELETING, Status.CREATING, Status.ERROR])
def test_a_volume_in_the_middle_of_something_is_deleted(site: Site, driver: Any, status: Status) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=status, owner="gone"))
    site.volumes.delete(volume.id)
    assert driver.volumes == {}
    assert site.store.page(Volume, where={}).records == ()


def test_a_deletion_that_fails_is_repeated(site: Site, driver: Any, configure: Configure) -> None:
    volume = site.create()
    configure(fail=["delete_volume"])
    with pytest.raises(BackendError, match="the array says no"):
        site.volumes.delete(volume.id)
    configure(fail=[])
    site.volumes.delete(volume.id)
    assert driver.volumes == {}


def test_a_volume_of_a_back_end_that_is_gone_from_the_configuration_is_unavailable_not_missing(site: Site) -> None:
    volume = site.create()
    site.backends.remove("array")
    with pytest.raises(BackendUnavailable, match="no longer configured"):
        site.volumes.delete(volume.id)
    with pytest.raises(BackendUnavailable, match="no longer configured"):
        site.publish(volume, site.node("n1"))


def test_expand_answers_the_real_size(site: Site, driver: Any) -> None:
    volume = site.create(gib=1)
    assert expand(site, volume, 1500 / 1024) == Expanded(Bytes(2 * GIB), True)
    assert driver.volumes[volume.id] == 2
    assert stored(site, volume).size == 2


def test_a_volume_that_is_large_enough_is_left_alone(site: Site, driver: Any) -> None:
    volume = site.create(gib=5)
    assert expand(site, volume, 2).size == 5 * GIB
    assert expand(site, volume, 5, limit=5).size == 5 * GIB
    assert driver.calls["extend_volume"] == 0


def test_an_expansion_that_fits_no_whole_gib_is_out_of_range(site: Site) -> None:
    volume = site.create(gib=1)
    with pytest.raises(OutOfRange):
        expand(site, volume, 1500 / 1024, limit=1600 / 1024)
    with pytest.raises(NotFound):
        expand(site, replace(volume, id="nowhere"), 2)


@pytest.mark.parametrize(
    ("capability", "attached", "required"),
    [(MOUNT, False, True), (MOUNT, True, True), (BLOCK, False, False), (BLOCK, True, True)],
)
def test_the_node_is_needed_for_a_file_system_and_where_the_device_is_in_use(
    site: Site, capability: Capability, attached: bool, required: bool
) -> None:
    volume = site.create(capability=capability)
    site.publish(site.create("another"), site.node("n1"))
    if attached:
        site.publish(volume, "n1", capability)
    assert expand(site, volume, 2, capability=capability).node_expansion_required is required
    assert expand(site, volume, 2, capability=None).node_expansion_required is required


@pytest.mark.parametrize(
    ("made_for", "asked", "attached", "required"),
    [
        ((), None, False, True),
        ((MOUNT, BLOCK), None, False, True),
        ((BLOCK,), None, False, False),
        ((BLOCK,), None, True, True),
        ((MOUNT,), BLOCK, False, False),
        ((BLOCK,), MOUNT, False, True),
    ],
)
def test_the_node_is_needed_unless_the_volume_is_known_to_be_raw_and_detached(
    made_for: tuple[Capability, ...], asked: Capability | None, attached: bool, required: bool
) -> None:
    volume = Volume(id="v", backend="array", size=GiB(1), capabilities=made_for)
    assert node_expansion_required(volume, asked, attached=attached) is required


def test_the_use_that_the_call_names_counts_before_what_the_volume_was_made_for(site: Site) -> None:
    assert expand(site, site.create("raw", capability=BLOCK), 2, capability=MOUNT).node_expansion_required
    assert not expand(site, site.create("formatted"), 2, capability=BLOCK).node_expansion_required


def test_the_node_is_needed_when_an_attachment_cannot_be_read(site: Site) -> None:
    volume = site.create(capability=BLOCK)
    site.publish(volume, site.node("n1"), BLOCK)
    (attachment,) = site.store.page(Attachment, where={}).records
    site.store = Damaged(site.store, attachment.id)
    assert expand(site, volume, 2, capability=BLOCK).node_expansion_required


def test_a_back_end_that_cannot_extend_what_is_attached_says_so_and_changes_nothing(empty_site: Site) -> None:
    driver = empty_site.add_backend(online_extend=False)
    volume = empty_site.create()
    empty_site.publish(volume, empty_site.node("n1"))
    with pytest.raises(InUse, match="attached"):
        expand(empty_site, volume, 2)
    assert expand(empty_site, volume, 1).size == GIB
    empty_site.attachments.unpublish(volume.id, "")
    assert expand(empty_site, volume, 2).size == 2 * GIB
    assert driver.volumes[volume.id] == 2


def test_an_expansion_that_died_is_finished_to_what_it_was_for(site: Site) -> None:
    volume = site.create(gib=1)
    site.store.replace(replace(volume, status=Status.EXTENDING, target_size=GiB(4), owner="gone"))
    assert expand(site, volume, 2).size == 4 * GIB
    assert stored(site, volume).status is Status.AVAILABLE


def test_an_expansion_that_failed_leaves_the_volume_as_it_was(site: Site, configure: Configure) -> None:
    volume = site.create(gib=1)
    configure(fail=["extend_volume"])
    with pytest.raises(BackendError):
        expand(site, volume, 2)
    assert (stored(site, volume).size, stored(site, volume).status) == (1, Status.AVAILABLE)
    assert site.volumes.get(volume.id).condition.abnormal


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_a_volume_that_is_not_whole_is_not_expanded(site: Site, status: Status) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=status, message="it broke"))
    with pytest.raises(PreconditionFailed, match=f"is {status}: it broke"):
        expand(site, volume, 2)
    assert stored(site, volume).size == 1


def validate(site: Site, volume: Volume, *capabilities: Capability, **more: Any) -> str:
    return site.volumes.validate(ValidateCapabilities(volume_id=volume.id, capabilities=capabilities, **more))


def test_what_a_volume_can_do_is_confirmed(site: Site) -> None:
    volume = site.create(parameters={"type": "gold"})
    assert validate(site, volume, MOUNT, BLOCK, parameters={"type": "gold"}) == ""
    assert validate(site, volume, MOUNT) == "", "parameters that are not given are not compared"
    assert validate(site, site.create("shared", capability=SHARED), SHARED) == ""


def test_what_a_volume_cannot_do_is_said(site: Site) -> None:
    volume = site.create()
    assert "several nodes" in validate(site, volume, MOUNT, SHARED)
    assert "raw block" in validate(site, volume, Capability(Mount(), AccessMode.MULTI_NODE_MULTI_WRITER))
    assert "ntfs" in validate(site, volume, Capability(Mount("ntfs"), AccessMode.SINGLE_NODE_WRITER))
    assert validate(site, volume, MOUNT, parameters={"type": "gold"}) == "parameters differ in type"
    differs = validate(site, volume, MOUNT, mutable_parameters={"qos/iops": "1"})
    assert differs == "mutable parameters differ in qos/iops"
    with pytest.raises(NotFound):
        validate(site, replace(volume, id="nowhere"), MOUNT)


def test_mutable_parameters_are_given_at_creation(site: Site) -> None:
    volume = site.create(mutable_parameters={"qos/maxIOPS": "500"})
    assert volume.type is not None
    assert volume.type.qos_specs == {"maxIOPS": "500"}


def test_block_for_readers_on_several_nodes_is_made_for_several(site: Site) -> None:
    assert site.create(capability=Capability(Block(), AccessMode.MULTI_NODE_READER_ONLY)).multiattach
