"""A pool of the file driver whose disk is not mounted is told in the lists, and nothing of its volumes is taken for gone (promise 27)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, DriverError
from csi_cinderlib.host import mounts
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.requests import GetCapacity

from .conftest import Site

pytestmark = pytest.mark.root
LOST = r"check that (its disk|the disk of \S+ \S+) is mounted"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounts.mount("none", str(path), "tmpfs", ("size=4g",))
    yield path
    mounts.unmount(str(path))


@pytest.fixture
def backend(empty_site: Site, disk: Path) -> LocalBackend:
    options = {"loopfile_directories": str(disk), "max_over_subscription_ratio": 1000}
    settings = BackendSettings(name="files", driver="csi_cinderlib.drivers.loopfile.LoopFileDriver", options=options)
    backend = LocalBackend(settings, store=empty_site.store, runtime=empty_site.runtime, owner="here")
    empty_site.backends.add(backend)
    backend.start()
    return backend


@pytest.mark.parametrize("when", ["at the start", "while the driver runs"])
def test_a_pool_whose_disk_is_not_there_is_told_and_keeps_its_volumes(
    empty_site: Site, backend: LocalBackend, disk: Path, when: str
) -> None:
    volume = empty_site.create()
    mounts.unmount(str(disk))
    if when == "at the start":
        backend.stop()
        with pytest.raises(BackendUnavailable, match=LOST):
            backend.start()
    else:
        with pytest.raises(DriverError, match=LOST):
            backend.stats(refresh=True)
    (listed,) = empty_site.volumes.list().records
    assert listed.condition.abnormal
    assert re.search(rf"{disk}(: it was| is no longer a) pool", listed.condition.message)
    with pytest.raises(DriverError, match=LOST):
        empty_site.volumes.delete(volume.id)
    with pytest.raises(DriverError, match=LOST):
        empty_site.create("another")
    with pytest.raises(DriverError):
        empty_site.volumes.capacity(GetCapacity())
    assert [record.id for record in empty_site.store.page(Volume).records] == [volume.id]
    assert list(disk.iterdir()) == []
