"""The driver as Cinder makes it, on directories of a given file system."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import loading
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.host import devices, mkfs, mounts

DRIVER = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
MIB = 1024 * 1024


@dataclass
class FakeVolume:
    """The attributes of Cinder's volume object that the driver reads."""

    size: int = 1
    host: str = "host@files#volumes"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    volume_type: Any = None
    provider_geometry: str | None = None
    volume_attachment: tuple[object, ...] = ()

    @property
    def name(self) -> str:
        return f"volume-{self.id}"


@dataclass
class FakeSnapshot:
    volume: FakeVolume
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def name(self) -> str:
        return f"snapshot-{self.id}"

    @property
    def volume_size(self) -> int:
        return self.volume.size


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "state")
    made.start()
    yield made
    made.close()


@pytest.fixture
def construct(runtime: Runtime) -> Callable[..., Any]:
    """Makes a driver for these directories, without setting it up."""

    def make(*directories: str, **options: object) -> Any:
        given = {"loopfile_directories": list(directories), "max_over_subscription_ratio": 1000, **options}
        settings = BackendSettings(name="files", driver=DRIVER, options=given)
        return loading.construct(settings, runtime, runtime.add_section(settings), is_empty=True)

    return make


@pytest.fixture
def set_up(construct: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a driver and sets it up as the volume manager does."""

    def make(*directories: str, **options: object) -> Any:
        driver = construct(*directories, **options)
        driver.do_setup(None)
        driver.check_for_setup_error()
        driver.init_capabilities()
        driver.set_initialized()
        return driver

    return make


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A directory on whatever the temporary directory lies on."""
    return tmp_path / "volumes"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a new file system of so many MiB at tmp_path/volumes: "xfs" has reflinks, "ext4" has none."""
    made: list[tuple[Path, str]] = []

    def make(fs_type: str, mib: int = 512, name: str = "volumes", options: Sequence[str] = ()) -> Path:
        image, target = tmp_path / f"{name}.img", tmp_path / name
        target.mkdir()
        if fs_type == "tmpfs":
            mounts.mount("none", str(target), fs_type, (f"size={mib}m",))
            made.append((target, ""))
            return target
        with image.open("xb") as file:
            file.truncate(mib * MIB)
        device = devices.attach_file(str(image))
        made.append((target, device))
        mkfs.plan(device, fs_type, options).carry_out()
        mounts.mount(device, str(target), fs_type)
        return target

    yield make
    for target, device in reversed(made):
        mounts.unmount(str(target))
        if device:
            devices.detach_file(device, expected=devices.identity(device))
