"""An older copy of the metadata was restored: what was half done when the copy was taken has been finished since, and is in use."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import NameTaken, PreconditionFailed
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import FOREIGN, Attachment, Modification, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.restored import Voided
from tests.component.provisioning.conftest import BLOCK, MOUNT, Site, snapshotting
from tests.component.provisioning.test_lists import spoil
from tests.support.fakes import makers

HALF_DONE = [Status.CREATING, Status.ERROR, Status.DELETING]


def at_once(site: Site) -> Orphans:
    return Orphans(site.store, site.backends, site.locks, grace=timedelta(0))


def as_in_the_copy(site: Site, record: Any, status: Status) -> Any:
    return site.store.replace(replace(record, status=status, owner="before"))


@pytest.mark.parametrize("status", HALF_DONE)
def test_a_volume_that_was_half_done_in_a_restored_copy_is_left_alone(site: Site, driver: Any, status: Status) -> None:
    volume = as_in_the_copy(site, site.create("live"), status)
    marked = at_once(site).leave_alone()
    assert marked == (f"volume {volume.id!r} on back end 'array', which was {status}",)
    assert at_once(site).settle() == ()
    with pytest.raises(NameTaken, match="csi-cinderlib orphans forget"):
        site.create("live")
    (listed,) = site.orphans.find()
    assert f"look for volume-{volume.id} on the back end: its record was unfinished in a restored copy" in listed.reason
    site.volumes.delete(volume.id)
    (listed,) = site.orphans.find()
    assert (listed.status, listed.name) == ("leftover", f"volume-{volume.id}")
    assert set(driver.volumes) == {volume.id}


@pytest.mark.parametrize("status", HALF_DONE)
def test_a_snapshot_that_was_half_done_in_a_restored_copy_is_left_alone(
    site: Site, driver: Any, status: Status
) -> None:
    volume = site.create("live")
    taken = site.snapshots.create(snapshotting(volume, "kept"))
    as_in_the_copy(site, site.store.get(Snapshot, taken.id), status)
    assert len(at_once(site).leave_alone()) == 1
    assert at_once(site).settle() == ()
    with pytest.raises(NameTaken):
        site.snapshots.create(snapshotting(volume, "kept"))
    site.snapshots.delete(taken.id)
    assert set(driver.snapshots) == {taken.id}


def test_what_failed_in_a_restored_copy_is_made_anew_after_an_operator_has_looked(site: Site, driver: Any) -> None:
    volume = as_in_the_copy(site, site.create("never finished"), Status.CREATING)
    driver.volumes.clear()
    at_once(site).leave_alone()
    site.orphans.forget(volume.id)
    assert site.create("never finished").id == volume.id
    assert site.orphans.find() == ()


def test_a_growth_goes_on_and_what_is_whole_is_not_marked(site: Site) -> None:
    grown, whole = site.create("grown"), site.create("whole")
    site.store.replace(replace(grown, status=Status.EXTENDING, target_size=GiB(2)))
    attachment = site.store.add(makers.attachment(whole))
    assert at_once(site).leave_alone() == ()
    assert site.store.get(Volume, whole.id) == whole
    assert site.store.get(Attachment, attachment.id) == attachment


@pytest.mark.parametrize("status", FOREIGN)
def test_an_adoption_that_was_not_finished_in_a_restored_copy_has_no_known_owner(site: Site, status: Status) -> None:
    volume = site.create("live")
    taken = site.snapshots.create(snapshotting(volume, "kept"))
    record: Any
    for record in (volume, site.store.get(Snapshot, taken.id)):
        site.store.replace(replace(record, status=status, adoption="plan"))
    repair = at_once(site)
    assert repair.void_marks().number == 2
    assert len(repair.leave_alone()) == 2
    for record in (site.store.get(Volume, volume.id), site.store.get(Snapshot, taken.id)):
        assert (record.status, record.adoption, bool(record.name_taken)) == (Status.ERROR, "", True)
    assert at_once(site).settle() == ()
    site.orphans.forget(taken.id)
    site.orphans.forget(volume.id)
    assert [orphan.id for orphan in site.orphans.find()] == ["restored"]


def test_an_adopted_volume_of_a_restored_copy_is_neither_given_back_nor_used(site: Site, driver: Any) -> None:
    """It may have been returned since, so that Cinder uses it."""
    volume, used = site.create("live"), site.create("used")
    volume = site.store.replace(replace(volume, began_empty=False, blank=False, adoption="plan"))
    assert [marked.partition(" on ")[0] for marked in at_once(site).leave_alone()] == [f"volume {volume.id!r}"]
    at_once(site).void_marks()
    now = site.store.get(Volume, volume.id)
    assert (now.adoption, now.status, bool(now.name_taken)) == ("", Status.ERROR, True)
    with pytest.raises(PreconditionFailed, match="it may have been returned to OpenStack Cinder"):
        site.publish(volume, site.node("n1"))
    site.volumes.delete(volume.id)
    assert set(driver.volumes) == {volume.id, used.id}
    assert site.store.get(Volume, used.id).status is Status.AVAILABLE


def test_every_statement_that_only_the_newest_copy_can_make_is_void() -> None:
    for kind in (Volume, Snapshot):
        names = {item.name for item in fields(kind) if "void_in_copy" in item.metadata}
        assert names == {"blank", "adoption"} | ({"began_empty"} if kind is Volume else set())


@pytest.mark.parametrize("used_as", [BLOCK, MOUNT], ids=["raw", "mounted"])
def test_what_was_never_formatted_in_a_restored_copy_may_have_been_since(site: Site, used_as: Capability) -> None:
    volume = site.create("live")
    taken = site.snapshots.create(snapshotting(volume, "early"))
    node = site.node("n1")
    site.publish(volume, node, used_as)
    site.attachments.unpublish(volume.id, node)
    now = site.store.get(Volume, volume.id)
    site.store.replace(replace(volume, revision=now.revision))  # as it was when the copy was made
    assert site.store.get(Snapshot, taken.id).blank
    assert at_once(site).void_marks() == Voided(2, ())
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN
    assert not site.store.get(Snapshot, taken.id).blank
    assert at_once(site).void_marks() == Voided(0, ())


def test_an_attachment_that_a_restored_copy_has_begun_gives_no_mark_back(site: Site) -> None:
    volume = site.create("live")
    node = site.node("n1")
    site.publish(volume, node, BLOCK)
    (attachment,) = site.store.page(Attachment).records
    assert attachment.blank
    as_in_the_copy(site, attachment, Status.CREATING)
    repair = at_once(site)
    repair.leave_alone()
    repair.void_marks()
    assert repair.settle()
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN


def test_a_record_that_cannot_be_read_is_told_and_the_others_are_changed(site: Site, tmp_path: Path) -> None:
    volumes = [site.create(name) for name in ("first", "second", "third")]
    spoil(site.store, volumes[1], tmp_path)
    assert at_once(site).void_marks() == Voided(2, (volumes[1].id,))
    assert not any(site.store.get(Volume, volumes[number].id).began_empty for number in (0, 2))


def test_an_attachment_of_a_restored_copy_has_no_right_to_format(site: Site) -> None:
    """Its mark is older than the copy, and the volume may have been detached and used raw since."""
    volume, node = site.create("live"), site.node("n1")
    assert site.publish(volume, node).formatting is Formatting.NEVER_FORMATTED
    at_once(site).void_marks()
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN


def test_the_properties_of_a_volume_that_grew_in_a_restored_copy_are_unproven_too(site: Site) -> None:
    volume = as_in_the_copy(site, site.create("live"), Status.EXTENDING)
    assert at_once(site).void_types() == 1
    kept = site.store.get(Volume, volume.id)
    assert (kept.status, kept.modification) == (Status.EXTENDING, Modification(mutable_parameters={}))
