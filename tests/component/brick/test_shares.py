"""A share stays mounted as long as a volume on it is attached. A tmpfs stands for the share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from csi_cinderlib.brick import Initiator, scsi
from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import devices, loopctl, mounts
from csi_cinderlib.model.connection import Connection

pytestmark = pytest.mark.root
EXPORT = "192.0.2.1:/x"


def volume(name: str) -> Connection:
    return Connection(volume_id=name, protocol="nfs", data={"export": EXPORT, "name": name})


@pytest.fixture
def share(tmp_path: Path) -> Path:
    where = tmp_path / "shares" / hashlib.md5(EXPORT.encode(), usedforsecurity=False).hexdigest()
    where.mkdir(parents=True)
    mounts.mount("tmpfs", str(where), "tmpfs")
    for name in ("volume-1", "volume-2"):
        (where / name).write_bytes(bytes(8 << 20))
    return where


@pytest.fixture(autouse=True)
def nfs_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mount.nfs").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "mount.nfs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_a_share_is_left_with_its_last_volume(tmp_path: Path, share: Path) -> None:
    initiator = Initiator(tmp_path)
    first, second = initiator.connect(volume("volume-1")), initiator.connect(volume("volume-2"))
    assert first.path != second.path
    assert (
        tmp_path / "shares"
    ).stat().st_mode & 0o777 == 0o700  # others of this host have no way to what a server shows
    assert first.file == str(share / "volume-1")
    initiator.disconnect(volume("volume-1"), first)
    assert mounts.find(str(share))
    initiator.disconnect(volume("volume-2"))  # from the connection alone
    assert mounts.find(str(share)) is None
    assert not share.exists()
    initiator.disconnect(volume("volume-2"), second)


def test_a_volume_that_is_not_on_the_share_leaves_nothing_attached(tmp_path: Path, share: Path) -> None:
    with pytest.raises(HostError, match="volume-3 does not exist"):
        Initiator(tmp_path).connect(volume("volume-3"))
    Initiator(tmp_path).disconnect(volume("volume-3"))
    assert mounts.find(str(share)) is None


def test_a_link_on_a_share_leads_nowhere(tmp_path: Path, share: Path) -> None:
    """Whoever has the server can put one there."""
    (tmp_path / "secret").write_bytes(bytes(8 << 20))
    (share / "volume-4").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidRequest, match="volume-4 is not a regular file"):
        Initiator(tmp_path).connect(volume("volume-4"))
    assert str(tmp_path / "secret") not in loopctl.attached().values()
    loop = devices.attach_file(str(tmp_path / "secret"))  # somebody else's
    Initiator(tmp_path).disconnect(volume("volume-4"))
    assert loopctl.backing_path(int(loop.removeprefix("/dev/loop"))) == str(tmp_path / "secret")
    devices.detach_from(str(tmp_path / "secret"))


def test_a_loop_device_has_no_scsi_paths(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8 << 20))
    loop = devices.attach_file(str(tmp_path / "f"))
    assert scsi.disks(loop) == ()
    assert scsi.stale(loop) == ()
    assert scsi.map_name(loop) == ""
    devices.detach_from(str(tmp_path / "f"))
    with pytest.raises(HostError):
        scsi.disks(str(tmp_path / "absent"))
