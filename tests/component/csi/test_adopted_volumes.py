"""Volumes of cinderlib live on under the CSI driver, with their data and their names on the storage."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_cinderlib.adoption import database, tables, writing
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.provisioning.orphans import Orphans
from tests.component.adoption.databases import sqlite_file
from tests.component.csi.harness import failed
from tests.component.csi.site import GIB, LOOP_FILE, Site, mount, publication


@pytest.fixture
def storage(site: Site, tmp_path: Path) -> Path:
    """The directory of the volumes; the site's store has adopted the records of `program.txt`."""
    (tmp_path / "old").mkdir()
    rows, shown = tables.read(f"sqlite:///{sqlite_file(tmp_path / 'old')}")
    found = database.content(rows)
    directory = tmp_path / "storage"
    directory.mkdir()
    for item, gib in [
        *((f"volume-{volume.id}", int(volume.size)) for volume in found.volumes.values()),
        *((f"snapshot-{snapshot.id}", int(snapshot.size)) for snapshot in found.snapshots.values()),
    ]:
        with (directory / item).open("wb") as file:
            file.write(item.encode())
            file.truncate(gib * GIB)
    writing.carry_out(site.store, writing.plan(site.store, found.records()), shown, Progress(""))
    site._add("array1", LOOP_FILE, {"loopfile_directories": [f"p1:{directory}"]}, None)
    return directory


def volume_id(site: Site, name: str) -> str:
    return next(volume.id for volume in walk(site.store, Volume) if volume.name == name)


def test_a_volume_can_be_used_expanded_snapshotted_and_deleted(site: Site, storage: Path) -> None:
    id = volume_id(site, "typed and unused")
    volume, file, controller = pb.Volume(volume_id=id), storage / f"volume-{id}", site.client.controller
    site.publish(volume, "node2")
    controller.ControllerUnpublishVolume(pb.ControllerUnpublishVolumeRequest(volume_id=id), timeout=60)
    expansion = pb.ControllerExpandVolumeRequest(volume_id=id, volume_capability=mount())
    expansion.capacity_range.required_bytes = 4 * GIB
    assert controller.ControllerExpandVolume(expansion, timeout=60).capacity_bytes == 4 * GIB
    assert file.stat().st_size >= 4 * GIB
    with file.open("rb") as content:
        assert content.read(len(file.name)) == file.name.encode()
    snapshot = site.snapshot(volume)
    controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id), timeout=60)
    site.delete(volume)
    assert not file.exists()


def test_a_new_volume_can_be_created_from_an_adopted_snapshot(site: Site, storage: Path) -> None:
    (name,) = (path.name for path in storage.iterdir() if path.name.startswith("snapshot-"))
    created = site.create("pvc-2", snapshot=name.removeprefix("snapshot-"))
    with (storage / f"volume-{created.volume_id}").open("rb") as content:
        assert content.read(len(name)) == name.encode()


def test_a_volume_attached_by_cinderlib_is_refused_to_other_nodes_until_it_is_disconnected(
    site: Site, storage: Path
) -> None:
    assert storage.is_dir()
    volume = pb.Volume(volume_id=volume_id(site, "typed"))
    refusal = failed(site.client.controller.ControllerPublishVolume, publication(volume, "node2"))
    assert refusal.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "'node1'" in str(refusal.details())
    request = pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id)
    site.client.controller.ControllerUnpublishVolume(request, timeout=60)
    assert volume.volume_id not in [attachment.volume_id for attachment in walk(site.store, Attachment)]
    site.publish(volume, "node2", mount())


def test_the_controller_finds_nothing_to_clean_up(site: Site, storage: Path) -> None:
    before = sorted(storage.iterdir())
    orphans = Orphans(site.store, site.backends, site.locks)
    assert orphans.settle() == ()
    assert list(orphans.find(nodes_too=False)) == []
    assert sorted(storage.iterdir()) == before
