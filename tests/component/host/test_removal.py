"""Removing a directory of one's own touches nothing that is mounted or linked there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from csi_cinderlib.host import mounts, removal

PACKAGE = Path(__file__).parents[3] / "csi_cinderlib"


def test_a_tree_is_removed_with_all_kinds_of_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_text("x")
    os.mkfifo(tree / "a" / "b" / "pipe")
    (tree / "a" / "dangling").symlink_to("nowhere")
    assert removal.remove_tree(tree) == ()
    assert not tree.exists()
    assert removal.remove_tree(tree) == ()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    (outside / "file").write_text("precious")
    (tree / "link").symlink_to(outside)
    assert removal.remove_tree(tree) == ()
    assert (outside / "file").read_text() == "precious"


def test_a_link_in_place_of_the_directory_is_left(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to("outside")
    assert removal.remove_tree(tmp_path / "link")
    assert (tmp_path / "outside").exists()


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "file"])
def test_what_is_mounted_below_is_left_with_the_directories_above_it(tmp_path: Path, kind: str) -> None:
    tree, share = tmp_path / "tree", tmp_path / "share"
    point = tree / "a" / "mnt"
    share.mkdir()
    (share / "file").write_text("precious")
    if kind == "file":
        point.parent.mkdir(parents=True)
        point.touch()
        mounts.bind(str(share / "file"), str(point))
    else:
        point.mkdir(parents=True)
        if kind == "bind":
            mounts.bind(str(share), str(point))
        else:
            mounts.mount("none", str(point), "tmpfs")
            (point / "file").write_text("precious")
    (tree / "a" / "own").write_text("x")
    left = removal.remove_tree(tree)
    assert [line.partition(":")[0] for line in left] == [str(point)]
    assert not (tree / "a" / "own").exists()
    kept = point if kind == "file" else point / "file"
    assert kept.read_text() == "precious"
    mounts.unmount(str(point))
    assert (share / "file").read_text() == "precious"


@pytest.mark.root
def test_what_was_mounted_in_a_temporary_directory_is_unmounted_first(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "file").write_text("precious")
    with removal.temporary_directory("csi-cinderlib-test-") as directory:
        (directory / "mnt").mkdir()
        mounts.bind(str(tmp_path / "share"), str(directory / "mnt"))
    assert not directory.exists()
    assert (tmp_path / "share" / "file").read_text() == "precious"


@pytest.mark.root
def test_what_is_in_use_in_a_temporary_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "file").write_text("precious")
    with removal.temporary_directory("csi-cinderlib-test-") as directory:
        (directory / "mnt").mkdir()
        mounts.bind(str(tmp_path / "share"), str(directory / "mnt"))
        held = (directory / "mnt" / "file").open()
    with held:
        assert (directory / "mnt" / "file").exists()
    mounts.unmount(str(directory / "mnt"))
    assert removal.remove_tree(directory) == ()
    assert (tmp_path / "share" / "file").read_text() == "precious"


def test_nothing_else_removes_trees() -> None:
    """`shutil.rmtree` and what stands on it go into mounted file systems."""
    recursive = re.compile(r"rmtree|TemporaryDirectory")
    users = {path.name for path in PACKAGE.rglob("*.py") if recursive.search(path.read_text())}
    assert users == {"removal.py"}
