"""An older copy of the metadata was restored: what was half done when the copy was taken has been finished since, and is in use."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import NameTaken
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
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
