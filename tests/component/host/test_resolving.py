"""Paths that must not lead through links, looked at and used."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import mounts, resolving


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kernels before 5.6 have no such call."""
    if request.param == "walk":
        monkeypatch.setattr(resolving, "OPENAT2", 1_000_000)
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "to-b").symlink_to("b")
    (tmp_path / "a" / "dangling").symlink_to("/nowhere")
    (tmp_path / "a" / "b" / "loop").symlink_to("loop")
    (tmp_path / "a" / "out").symlink_to("/etc")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("a", ""),
        ("a/b/c", ""),
        ("a/b/c/not/there", ""),
        ("a/file", ""),
        ("a/file/below", ""),
        ("not there", ""),
        ("a/to-b", "a/to-b"),
        ("a/to-b/c", "a/to-b"),
        ("a/to-b/not there", "a/to-b"),
        ("a/dangling", "a/dangling"),
        ("a/dangling/x", "a/dangling"),
        ("a/b/loop", "a/b/loop"),
        ("a/out/passwd", "a/out"),
        ("a/" + "x" * 300, ""),
    ],
)
def test_the_first_link_of_a_path_is_found(tree: Path, way: str, path: str, link: str) -> None:
    assert resolving.link_below(str(tree), path) == (f"{tree}/{link}" if link else "")


def test_a_link_of_the_kernels_is_one(way: str) -> None:
    assert resolving.link_below("/", "proc/self/fd/0") == "/proc/self"


@pytest.mark.root
def test_what_is_mounted_at_the_path_is_not_opened(tree: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree / "a" / "b"
    mounts.mount("none", str(path), "tmpfs")
    opened: list[int] = []
    open_at = resolving.open_at

    def noted(*arguments: int) -> int:
        fd = open_at(*arguments)  # type: ignore[arg-type] # as it is called
        opened.append(os.fstat(fd).st_dev)
        return fd

    monkeypatch.setattr(resolving, "open_at", noted)
    try:
        inside = path.stat().st_dev
        assert resolving.link_below(str(tree), "a/b") == ""
        assert inside not in opened
    finally:
        mounts.unmount(str(path))


def test_no_answer_is_given_without_file_descriptors(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(resolving, "open_at", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        resolving.link_below(str(tree), "a/b")


def test_a_directory_is_made_with_those_above_it(tree: Path, way: str) -> None:
    for _ in range(2):
        resolving.make_directory(f"{tree}/x/y/z/")
        assert (tree / "x" / "y" / "z").is_dir()


def test_nothing_is_made_through_a_link(tree: Path) -> None:
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        resolving.make_directory(f"{tree}/a/to-b/x/y")
    assert sorted(path.name for path in (tree / "a" / "b").iterdir()) == ["c", "loop"]


def test_no_file_stays_open(tree: Path, way: str) -> None:
    before = opened_towards(tree)
    for path in ("a/b/c", "a/to-b/c", "x/y", "a/file/x"):
        resolving.link_below(str(tree), path)
        with contextlib.suppress(OSError), resolving.held(f"{tree}/{path}"):
            pass
        with contextlib.suppress(OSError), resolving.directory_of(f"{tree}/{path}"):
            pass
    resolving.make_directory(f"{tree}/new/one")
    assert opened_towards(tree) == before


def opened_towards(directory: Path) -> Counter[Path]:
    """The directories from / on, and what lies below: other threads of this process open and close files of their own."""
    open_files: Counter[Path] = Counter()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            path = file.readlink()
            if path in (directory, *directory.parents) or directory in path.parents:
                open_files[path] += 1
    return open_files


@contextlib.contextmanager
def swapped(directory: Path, link: Path) -> Iterator[None]:
    """One name is a directory and a link by turns, as fast as that goes."""
    ended = threading.Event()
    aside = directory.with_name("aside")

    def swap() -> None:
        while not ended.is_set():
            directory.rename(aside)
            link.rename(directory)
            directory.rename(link)
            aside.rename(directory)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.root
def test_a_link_that_comes_between_look_and_call_leads_no_mount_astray(tmp_path: Path) -> None:
    source, pod, foreign, link = (tmp_path / name for name in ("source", "pod", "foreign", "link"))
    for path in (source, pod / "mount", foreign / "mount"):
        path.mkdir(parents=True)
    link.symlink_to(foreign)
    mounts.mount("foreign", str(foreign / "mount"), "tmpfs")
    target, bound = str(pod / "mount"), 0
    try:
        with swapped(pod, link):
            rounds, deadline = 0, time.monotonic() + 60
            while rounds < 400 or (not bound and time.monotonic() < deadline):  # it may be a link for 400 rounds
                rounds += 1
                with contextlib.suppress(HostError):
                    mounts.bind(str(source), target)
                    bound += 1
                with contextlib.suppress(HostError):
                    if here := mounts.uppermost(target, mounts.table()):
                        mounts.unmount_uppermost(target, seen=here)
                assert [item.source for item in mounts.find_all(f"{foreign}/mount")] == ["foreign"]
        assert bound
    finally:
        for item in reversed(mounts.table()):
            if item.target.startswith(f"{tmp_path}/"):
                mounts.unmount_uppermost(item.target)
