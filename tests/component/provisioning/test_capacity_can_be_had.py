"""The size that GetCapacity reports can be created, and no larger one (promise 43)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.host import mounts
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.requests import GetCapacity

from .conftest import GIB, Site

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """4 GiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounts.mount("none", str(path), "tmpfs", ("size=4g",))
    yield path
    mounts.unmount(str(path))


def start(site: Site, disk: Path, ratio: float, reserved: int) -> None:
    options = {
        "loopfile_directories": str(disk),
        "max_over_subscription_ratio": ratio,
        "reserved_percentage": reserved,
    }
    backend = LocalBackend(
        BackendSettings(name="files", driver=LOOPFILE, options=options),
        store=site.store,
        runtime=site.runtime,
        owner="here",
    )
    site.backends.add(backend)
    backend.start()


def largest(site: Site) -> int:
    """GiB."""
    maximum = site.volumes.capacity(GetCapacity()).maximum
    assert maximum is not None
    return maximum // GIB


@pytest.mark.parametrize("written", [0, 1024], ids=["empty", "a quarter written"])
@pytest.mark.parametrize("promised", [0, 2])
@pytest.mark.parametrize("reserved", [0, 10, 60])
@pytest.mark.parametrize("ratio", [1, 1.5, 3, 20])
def test_what_is_reported_is_created_and_one_gib_more_is_refused(
    empty_site: Site, disk: Path, ratio: float, reserved: int, promised: int, written: int
) -> None:
    with (disk / ".written").open("wb") as file:
        for _ in range(written):
            file.write(b"\1" * 1024 * 1024)
    start(empty_site, disk, ratio, reserved)
    if promised and promised <= largest(empty_site):
        empty_site.create("first", gib=promised)
    most = largest(empty_site)
    with pytest.raises(ResourceExhausted):
        empty_site.create("too large", gib=most + 1)
    if most:
        assert empty_site.create("largest", gib=most).size == most
    assert "too large" not in {volume.name for volume in empty_site.store.page(Volume).records}


def test_the_deletion_of_an_empty_file_frees_no_more_than_there_is(empty_site: Site, disk: Path) -> None:
    start(empty_site, disk, ratio=3, reserved=0)
    first = empty_site.create("first", gib=10)
    with (disk / ".written").open("wb") as file:
        for _ in range(3 * 1024):
            file.write(b"\1" * 1024 * 1024)
    empty_site.backends.get("files").stats(refresh=True)
    empty_site.volumes.delete(first.id)
    most = largest(empty_site)
    assert 0 < most <= 3
    assert empty_site.create("largest", gib=most).size == most
