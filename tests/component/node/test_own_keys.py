"""The key file of a node."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.node.own_keys import FILE, OwnKeys


def test_a_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    assert keys.read() == ()
    assert keys.stamp() == (0, 0)
    key = keys.ensure()
    assert OwnKeys(tmp_path, "n1").ensure() == key
    assert keys.by_id() == {key.id: key}
    assert keys.path.stat().st_mode & 0o777 == 0o600


def test_a_new_key_goes_in_front_and_the_old_ones_stay_until_they_are_forgotten(tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    first, before = keys.ensure(), keys.stamp()
    second = keys.add()
    assert keys.stamp() != before
    assert keys.read() == (second, first)
    assert keys.ensure() == second
    assert (keys.forget_old(), keys.read()) == (1, (second,))
    assert keys.forget_old() == 0


def test_a_copy_of_another_nodes_disk_is_not_used(tmp_path: Path) -> None:
    theirs = OwnKeys(tmp_path, "golden-image").ensure()
    keys = OwnKeys(tmp_path, "n2")
    assert keys.read() == ()
    own = keys.ensure()
    assert own != theirs
    assert keys.read() == (own,)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"v": 1}', b'{"v": 1, "node": "n1", "keys": []}', b"[" * 100_000,
        b'{"v": 1, "node": "n1", "keys": [{"private": "short", "public": "short"}]}',
        b'{"v": 2, "node": "n1", "keys": []}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_left(content: bytes, tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    keys.path.write_bytes(content)
    keys.path.chmod(0o600)
    for call in (keys.ensure, keys.read, keys.add, keys.forget_old):
        with pytest.raises(HostError, match=f"{FILE} is damaged"):
            call()
    assert keys.path.read_bytes() == content


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    keys.ensure()
    keys.path.chmod(0o640)
    with pytest.raises(HostError, match="be readable by no other user"):
        keys.read()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    elsewhere = OwnKeys(tmp_path / "other", "n1")
    elsewhere.path.parent.mkdir()
    elsewhere.ensure()
    keys = OwnKeys(tmp_path, "n1")
    keys.path.symlink_to(elsewhere.path)
    with pytest.raises(HostError, match="cannot read"):
        keys.read()


def test_of_many_changes_at_once_none_is_lost(tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    threads = [threading.Thread(target=OwnKeys(tmp_path, "n1").add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in keys.read()}) == 8
    assert set(json.loads(keys.path.read_text())) == {"v", "node", "keys"}


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    keys = OwnKeys(tmp_path, "n1")
    os.mkfifo(keys.path, 0o600)
    with pytest.raises(HostError, match="is damaged"):
        keys.ensure()
