"""A volume of the file driver is deleted before its snapshots, on every store: they stay whole, and nobody sees the volume any more."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import AlreadyExists, InUse, NotFound
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import (
    CreateSnapshot,
    ExpandVolume,
    ListSnapshots,
    PublishVolume,
    ValidateCapabilities,
)
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.harness import Harness
from tests.component.provisioning.conftest import BLOCK, GIB, Site, snapshotting

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path_factory.mktemp("cinder"), owner="here")
    runtime.start()
    yield runtime
    runtime.close()


@pytest.fixture
def store(persistence_harness: Harness) -> Iterator[Store]:
    store = persistence_harness.open()
    yield store
    persistence_harness.close(store)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def site(store: Store, runtime: Runtime, files: Path) -> Iterator[Site]:
    site = Site(store, runtime)
    start(site, files)
    yield site
    for backend in site.backends.all():
        backend.stop()


def start(site: Site, files: Path) -> LocalBackend:
    settings = BackendSettings(name="files", driver=LOOPFILE, options={"loopfile_directories": str(files)})
    backend = LocalBackend(settings, store=site.store, runtime=site.runtime, owner="here")
    site.backends.add(backend)
    backend.start()
    return backend


def fill(files: Path, volume: Volume) -> str:
    """Random data at the volume's beginning, middle and end; its checksum."""
    with (files / f"volume-{volume.id}").open("r+b") as file:
        for place in (0, GIB // 2, GIB - 1024**2):
            file.seek(place)
            file.write(os.urandom(1024**2))
    return checksum(files / f"volume-{volume.id}")


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(site: Site, snapshot: Snapshot, name: str = "restored", gib: float = 1) -> Volume:
    return site.create(name, gib=gib, source=Source(SourceKind.SNAPSHOT, snapshot.id))


def records(site: Site) -> tuple[int, int]:
    return len(site.store.page(Volume).records), len(site.store.page(Snapshot).records)


def test_a_snapshot_is_restored_after_its_volume_was_deleted(site: Site, files: Path) -> None:
    volume = site.create()
    content = fill(files, volume)
    snapshot = site.snapshots.create(snapshotting(volume))
    fill(files, volume)
    site.volumes.delete(volume.id)
    assert sorted(path.name for path in files.glob("*-*")) == [f"snapshot-{snapshot.id}"]
    site.backends.get("files").stop()
    site.volumes.delete(volume.id)  # is gone already, so its back end is not asked
    start(site, files)
    restored = restore(site, snapshot)
    assert checksum(files / f"volume-{restored.id}") == content
    assert (restored.backend, restored.pool) == (volume.backend, volume.pool)
    assert restore(site, snapshot, "larger", gib=2).size == 2

    site.snapshots.delete(snapshot.id)
    assert records(site) == (2, 0), "the volume's record went with its last snapshot"
    for name in ("restored", "larger"):
        site.volumes.delete(site.ids.volume_id(name))
    assert (records(site), list(files.glob("*-*"))) == ((0, 0), [])


def test_a_volume_that_is_kept_for_its_snapshots_is_not_seen(site: Site) -> None:
    volume = site.create()
    snapshot = site.snapshots.create(snapshotting(volume))
    site.volumes.delete(volume.id)
    assert site.volumes.list().records == ()
    assert site.orphans.find() == ()
    node = site.node("n1")
    calls: list[Callable[[], object]] = [
        lambda: site.volumes.get(volume.id),
        lambda: site.volumes.expand(ExpandVolume(volume_id=volume.id, size=SizeRange(Bytes(2 * GIB)))),
        lambda: site.volumes.validate(ValidateCapabilities(volume_id=volume.id, capabilities=(BLOCK,))),
        lambda: site.attachments.publish(PublishVolume(volume_id=volume.id, node_id=node, capability=BLOCK)),
        lambda: site.snapshots.create(CreateSnapshot(name="another", volume_id=volume.id)),
        lambda: site.groups.create("group", [volume.id], {}),
        lambda: site.create("clone", source=Source(SourceKind.VOLUME, volume.id)),
    ]
    for call in calls:
        with pytest.raises(NotFound, match=volume.id):
            call()
    site.attachments.unpublish(volume.id, node)
    assert records(site) == (1, 1)
    assert site.snapshots.get(snapshot.id) == snapshot


def test_the_snapshots_of_a_deleted_volume_are_listed_and_answered_as_before(site: Site) -> None:
    volume = site.create()
    snapshot = site.snapshots.create(snapshotting(volume))
    site.volumes.delete(volume.id)
    assert site.snapshots.list(ListSnapshots(volume_id=volume.id)).records == (snapshot,)
    assert site.snapshots.create(snapshotting(volume)) == snapshot


def test_the_name_of_a_deleted_volume_is_free_when_its_last_snapshot_is_gone(site: Site) -> None:
    volume = site.create()
    snapshots = [site.snapshots.create(snapshotting(volume, name)) for name in ("s1", "s2")]
    site.volumes.delete(volume.id)
    for snapshot in snapshots:
        with pytest.raises(AlreadyExists, match="a deleted volume of this name still has snapshots"):
            site.create()
        site.snapshots.delete(snapshot.id)
    assert site.create().id == volume.id


def test_a_group_snapshot_outlives_its_volumes(site: Site, files: Path) -> None:
    volumes = [site.create(name) for name in "ab"]
    contents = {volume.id: fill(files, volume) for volume in volumes}
    taken = site.groups.create("together", [volume.id for volume in volumes], {})
    for volume in volumes:
        site.volumes.delete(volume.id)
    for member in taken.members:
        restored = restore(site, member, f"from {member.id}")
        assert checksum(files / f"volume-{restored.id}") == contents[member.volume_id]
    site.groups.delete(taken.record.id, [])
    assert records(site) == (2, 0)


def test_a_record_that_a_kill_left_without_snapshots_is_removed(site: Site) -> None:
    volume = site.create()
    snapshot = site.snapshots.create(snapshotting(volume))
    site.volumes.delete(volume.id)
    assert site.orphans.settle() == ()
    assert records(site) == (1, 1), "it is needed"
    site.store.remove(site.store.get(Snapshot, snapshot.id))
    site.orphans.settle()
    assert records(site) == (0, 0)


def test_a_volume_and_its_last_snapshots_are_deleted_at_once(site: Site, files: Path) -> None:
    for number in range(5):
        volume = site.create(f"pvc-{number}")
        snapshots = [site.snapshots.create(snapshotting(volume, f"s{number}-{name}")) for name in "ab"]
        deletions = [lambda id=volume.id: site.volumes.delete(id)]
        deletions += [lambda id=snapshot.id: site.snapshots.delete(id) for snapshot in snapshots]
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(delete) for delete in deletions]:
                done.result()
    assert (records(site), list(files.glob("*-*"))) == ((0, 0), [])


def test_a_volume_stays_while_a_snapshot_of_it_is_being_taken(site: Site, files: Path) -> None:
    volume = site.create()
    site.store.add(
        Snapshot(id="s", backend="files", volume_id=volume.id, size=volume.size, status=Status.CREATING, owner="other")
    )
    with pytest.raises(InUse, match="is still being created"):
        site.volumes.delete(volume.id)
    assert site.volumes.get(volume.id).record.status is Status.AVAILABLE
    assert (files / f"volume-{volume.id}").exists()
