"""Volumes that a real OpenStack Cinder has created on LVM are adopted in place, and used with their data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Backend, Library, Volume
from csi_cinderlib.cli import main
from csi_cinderlib.host import mounts
from tests.guest.inside import lvm
from tests.guest.inside.backends import OPTIONS
from tests.guest.scenarios import contract
from tests.support.fakes.beds import read

PROGRAM = Path(__file__).parents[1] / "inside" / "cinder_volumes.txt"
KINDS = {"lvm-thin": (lvm.THIN, "thin"), "lvm-thick": (lvm.THICK, "default")}
SECOND = 700 << 20


@dataclass(frozen=True)
class Cinder:
    """An OpenStack Cinder that has created its volumes.

    Attributes:
        ids: by name.
    """

    directory: Path
    group: str
    ids: Mapping[str, str]

    def adopt(self, *arguments: str) -> int:
        url = f"sqlite:///{self.directory}/cinder.db"
        return main(["adopt", "cinder", "--url", url, "--into", f"sqlite:///{self.directory}/new.db", *arguments])


@pytest.fixture(
    params=[
        pytest.param("lvm-thin", marks=pytest.mark.guest("contract-thin")),
        pytest.param("lvm-thick", marks=pytest.mark.guest("contract-thick")),
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    contract.set_up(request.param, request)
    return str(request.param)


@pytest.fixture
def cinder(name: str, tmp_path: Path) -> Cinder:
    group, kind = KINDS[name]
    argv = [sys.executable, "-W", "ignore", str(PROGRAM), str(tmp_path), group, kind]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return Cinder(tmp_path, group, json.loads(done.stdout))


@pytest.fixture
def backend(name: str, cinder: Cinder) -> Iterator[Backend]:
    """The back end with the adopted volumes."""
    plan = str(cinder.directory / "plan.yaml")
    assert cinder.adopt("--plan", plan, "--backend", f"node1@lvm={name}#{name}") == 0
    assert cinder.adopt("--apply", plan) == 0
    driver, options = OPTIONS[name]
    library = Library(persistence_config={"storage": "db", "connection": f"sqlite:///{cinder.directory}/new.db"})
    try:
        yield library.backend(name, volume_driver=driver, **options)
    finally:
        library.close()


def check(volume: Volume, text: bytes) -> None:
    connection = volume.attach()
    try:
        device = Path(str(connection.path))
        assert (read(device), read(device, at=SECOND)) == (text, text)
    finally:
        volume.detach()


def check_file(volume: Volume, directory: Path) -> None:
    connection = volume.attach()
    directory.mkdir()
    try:
        mounts.mount(str(connection.path), str(directory), "ext4", ())
        try:
            assert (directory / "hello").read_text() == "from OpenStack"
        finally:
            mounts.unmount(str(directory))
    finally:
        volume.detach()


def test_volumes_of_a_real_cinder_are_adopted_with_their_data(backend: Backend, cinder: Cinder, tmp_path: Path) -> None:
    volumes = {str(volume.name): volume for volume in backend.volumes}
    assert {title: volume.id for title, volume in volumes.items()} == cinder.ids
    before = lvm.volumes(cinder.group)
    raw, clone, migrated, files = (volumes[title] for title in ("raw", "clone", "migrated", "files"))
    check(raw, b"after the snapshot")
    check(clone, b"after the snapshot")
    check(migrated, b"under another name")
    check_file(files, tmp_path / "mounted")
    assert lvm.volumes(cinder.group) == before
    restored = raw.snapshots[0].create_volume()
    check(restored, b"before the snapshot")
    assert migrated.extend(2) == 2 << 30
    check(migrated, b"under another name")
    restored.delete()
    for volume in (clone, migrated, files):
        volume.delete()
    raw.snapshots[0].delete()
    raw.delete()
    assert not {title for title in lvm.volumes(cinder.group) if "volume-" in title or "snapshot-" in title}
