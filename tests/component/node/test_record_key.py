"""The node's own key: made once, for root alone, and refused when it may be known to somebody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import mounts
from csi_cinderlib.node.record_key import RecordKey
from csi_cinderlib.node.stage_records import StageRecords


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    key = RecordKey(tmp_path)
    key.prepare()
    file = tmp_path / "record-key"
    first = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = RecordKey(tmp_path)
    again.prepare()
    assert file.read_bytes() == first
    assert again.open(key.seal(b"secret")) == b"secret"
    assert [path.name for path in tmp_path.iterdir()] == ["record-key"]


def test_two_nodes_have_two_keys(tmp_path: Path) -> None:
    here, there = (RecordKey(tmp_path / name) for name in ("here", "there"))
    for key, name in ((here, "here"), (there, "there")):
        (tmp_path / name).mkdir()
        key.prepare()
    with pytest.raises(InvalidRequest, match="key is different"):
        there.open(here.seal(b"secret"))


def test_a_key_that_is_gone_is_named(tmp_path: Path) -> None:
    text = RecordKey(tmp_path).seal(b"secret")
    (tmp_path / "record-key").unlink()
    with pytest.raises(InvalidRequest, match=r"cannot be unsealed: the key file .*record-key is missing"):
        RecordKey(tmp_path).open(text)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_may_use_is_refused_and_left_alone(tmp_path: Path, mode: int) -> None:
    RecordKey(tmp_path).prepare()
    file = tmp_path / "record-key"
    file.chmod(mode)
    content = file.read_bytes()
    for act in (RecordKey(tmp_path).prepare, lambda: RecordKey(tmp_path).seal(b"x"), lambda: StageRecords(tmp_path)):
        with pytest.raises(
            HostError, match=rf"record-key has mode {mode:04o}, which gives other users access; .* remove it"
        ):
            act()
    assert file.read_bytes() == content


@pytest.mark.root
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    RecordKey(tmp_path).prepare()
    os.chown(tmp_path / "record-key", 65534, 0)
    with pytest.raises(HostError, match="record-key must belong to user 0, not 65534"):
        RecordKey(tmp_path).prepare()


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_what_is_no_file_is_no_key(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "record-key"
    if kind == "link":
        RecordKey(tmp_path).prepare()
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path, 0o600)
    with pytest.raises(HostError, match="record-key"):
        RecordKey(tmp_path).prepare()


@pytest.mark.parametrize("content", [b"", b"\n", b"c2hvcnQ=\n", b"\xff" * 44, b"x" * 5000])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "record-key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(HostError, match="record-key does not contain a key"):
        RecordKey(tmp_path).prepare()
    assert file.read_bytes() == content


@pytest.mark.root
def test_a_node_starts_on_a_full_disk_and_makes_its_key_later(tmp_path: Path) -> None:
    mounts.mount("none", str(tmp_path), "tmpfs", ("size=64k",))
    try:
        filler = tmp_path / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 4096)
        key = RecordKey(tmp_path)
        key.prepare()
        with pytest.raises(HostError, match=r"cannot create .*record-key: No space left"):
            key.seal(b"secret")
        filler.unlink()
        assert key.open(key.seal(b"secret")) == b"secret"
    finally:
        mounts.unmount(str(tmp_path))
