"""Removing a directory tree never reaches what is mounted in it, or what a link in it points at."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import csi_cinderlib
from csi_cinderlib.host import mounts, removal


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory to remove; what a test mounts below it is unmounted at the end."""
    path = tmp_path / "tree"
    (path / "deep" / "share").mkdir(parents=True)
    (path / "deep" / "own").write_text("of this process")
    yield path
    removal.unmount_below(path)


@pytest.fixture(params=["tmpfs", "bind"])
def mounted(request: pytest.FixtureRequest, tree: Path, tmp_path: Path) -> Path:
    """A file on a share that is mounted below `tree`: on another file system, or the same one bound."""
    share = tree / "deep" / "share"
    if request.param == "tmpfs":
        mounts.mount("none", str(share), "tmpfs")
    else:
        (tmp_path / "elsewhere").mkdir()
        mounts.bind(str(tmp_path / "elsewhere"), str(share))
    (share / "volumes").mkdir()
    (share / "volumes" / "precious").write_text("of somebody else")
    return share / "volumes" / "precious"


def test_everything_goes(tree: Path) -> None:
    (tree / "empty").mkdir()
    os.mkfifo(tree / "pipe")
    assert removal.remove_tree(tree) == []
    assert not tree.exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    assert removal.remove_tree(tmp_path / "absent") == []
    assert removal.remove_tree(tmp_path / "absent" / "below") == []


def test_links_are_removed_and_not_followed(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("of somebody else")
    (tree / "deep" / "to-directory").symlink_to(other)
    (tree / "to-file").symlink_to(other / "precious")
    (tree / "dangling").symlink_to(tmp_path / "absent")
    assert removal.remove_tree(tree) == []
    assert not tree.exists()
    assert (other / "precious").read_text() == "of somebody else"


def test_a_tree_that_is_a_link_is_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert removal.remove_tree(tmp_path / "link") == []
    assert (tree / "deep" / "own").exists()


@pytest.mark.root
def test_a_mount_stays_with_the_directories_above_it(tree: Path, mounted: Path) -> None:
    left = removal.remove_tree(tree)
    assert left == [f"{tree}/deep/share (mounted)"]
    assert mounted.read_text() == "of somebody else"
    assert not (tree / "deep" / "own").exists()


@pytest.mark.root
def test_a_tree_that_is_a_mount_itself_stays(mounted: Path) -> None:
    share = mounted.parent.parent
    assert removal.remove_tree(share) == [f"{share} (mounted)"]
    assert mounted.read_text() == "of somebody else"


@pytest.mark.root
def test_a_file_that_is_a_mount_point_stays(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("of somebody else")
    (tree / "bound").touch()
    mounts.bind(str(tmp_path / "precious"), str(tree / "bound"))
    [left] = removal.remove_tree(tree)
    assert left.startswith(f"{tree}/bound (")
    assert (tree / "bound").read_text() == "of somebody else"


@pytest.mark.root
def test_a_busy_mount_stays(tree: Path, mounted: Path) -> None:
    with mounted.open():
        assert removal.unmount_below(tree) == [f"{tree}/deep/share"]
        assert removal.remove_tree(tree) == [f"{tree}/deep/share (mounted)"]
        assert mounted.read_text() == "of somebody else"


@pytest.mark.root
@pytest.mark.parametrize("fails", [False, True], ids=["normal end", "exception"])
def test_a_temporary_directory_unmounts_what_a_driver_mounted(tmp_path: Path, fails: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("of somebody else")
    outcome = pytest.raises(RuntimeError) if fails else contextlib.nullcontext()
    with outcome, removal.temporary_directory("csi-cinderlib-test-") as directory:
        (directory / "share").mkdir()
        mounts.bind(str(tmp_path / "elsewhere"), str(directory / "share"))
        if fails:
            raise RuntimeError
    assert not directory.exists()
    assert (tmp_path / "elsewhere" / "precious").read_text() == "of somebody else"


def test_a_temporary_directory_is_removed_within_its_time() -> None:
    with removal.temporary_directory("csi-cinderlib-test-", patience=60) as directory:
        (directory / "own").touch()
    assert not directory.exists()


def test_the_package_removes_no_tree_in_another_way() -> None:
    package = Path(csi_cinderlib.__path__[0])
    other_ways = re.compile(r"\b(rmtree|TemporaryDirectory|removedirs)\b|\brm\b.*-[rRf]*[rR]")
    found = [
        f"{path.relative_to(package)}:{number}"
        for path in package.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if other_ways.search(line)
    ]
    assert found == []
