"""Mapped images are found in /sys."""

from pathlib import Path

from csi_cinderlib.brick.initiator import rbd_device


def mapped(root: Path, number: int, pool: str, name: str, snapshot: str = "-") -> None:
    entry = root / str(number)
    entry.mkdir()
    for key, value in (("pool", pool), ("name", name), ("current_snap", snapshot)):
        (entry / key).write_text(value + "\n")


def test_the_image_itself_is_found_and_not_a_snapshot_of_it(tmp_path: Path) -> None:
    mapped(tmp_path, 0, "pool", "image", "snap1")
    mapped(tmp_path, 1, "other", "image")
    mapped(tmp_path, 2, "pool", "image")
    assert rbd_device("pool/image", tmp_path) == "/dev/rbd2"
    assert rbd_device("pool/absent", tmp_path) == ""
    assert rbd_device("pool/image", tmp_path / "no-such-bus") == ""
