"""The room that is kept back for clean-up."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from csi_cinderlib.host.reserve import Reserve, is_full
from tests.support.disks import Disk, mounted

FULL = OSError(errno.ENOSPC, "No space left on device")


def files(directory: Path) -> dict[str, int]:
    """Sizes, as far as the disk has given blocks for them."""
    return {path.name: path.stat().st_blocks * 512 for path in directory.iterdir()}


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    made = Reserve(tmp_path / "reserve", files=2, size=8192)
    assert made.fill()
    return made


def test_the_room_is_taken_and_not_only_promised(reserve: Reserve, tmp_path: Path) -> None:
    assert files(tmp_path / "reserve") == {"0": 8192, "1": 8192}
    assert (tmp_path / "reserve").stat().st_mode & 0o777 == 0o700


def test_work_is_done_again_without_the_reserve_only_where_there_was_no_room(reserve: Reserve, tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def work(error: OSError) -> str:
        seen.append(set(files(tmp_path / "reserve")))
        if len(seen) == 1:
            raise error
        return "done"

    assert reserve.run(lambda: work(FULL)) == "done"
    assert seen == [{"0", "1"}, set()]
    assert files(tmp_path / "reserve") == {"0": 8192, "1": 8192}
    seen.clear()
    with pytest.raises(PermissionError):
        reserve.run(lambda: work(PermissionError(errno.EACCES, "no")))
    assert seen == [{"0", "1"}]


def test_an_error_of_the_second_attempt_is_raised_and_the_room_taken_again(reserve: Reserve, tmp_path: Path) -> None:
    def work() -> None:
        raise FULL

    with pytest.raises(OSError, match="No space left"):
        reserve.run(work)
    assert files(tmp_path / "reserve") == {"0": 8192, "1": 8192}


def test_the_last_of_several_users_takes_the_room_again(reserve: Reserve, tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(reserve.released())
        second.enter_context(reserve.released())
        first.close()
        assert files(tmp_path / "reserve") == {}
        assert not reserve.fill()
    assert files(tmp_path / "reserve") == {"0": 8192, "1": 8192}
    assert reserve.fill()


def test_a_disk_with_room_keeps_its_reserve(reserve: Reserve, tmp_path: Path) -> None:
    with reserve.released_if_full():
        assert files(tmp_path / "reserve") == {"0": 8192, "1": 8192}


def test_a_reserve_that_was_never_made_holds_nothing_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "absent" / "reserve")
    with reserve.released_if_full():
        assert not reserve.fill()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "reserve").mkdir()
    (tmp_path / "reserve" / "0").symlink_to(tmp_path / "elsewhere")
    assert not Reserve(tmp_path / "reserve").fill()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_quota_is_a_full_disk_and_a_broken_one_is_not(number: int, expected: bool) -> None:
    assert is_full(OSError(number, "")) is expected
    assert not is_full(ValueError(number))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", 1, "tmpfs") as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize("fill", [Disk.fill, Disk.use_all_inodes])
def test_a_full_disk_gives_room_to_all_who_are_at_work_at_once(disk: Disk, fill: object) -> None:
    reserve = Reserve(disk.path / "reserve")
    assert reserve.fill()
    fill(disk)  # type: ignore[operator]  # one of the two
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(reserve.released_if_full())
        second.enter_context(reserve.released_if_full())  # there is room now, as long as nobody takes it
        first.close()
        (disk.path / "lock").write_bytes(bytes(4096))
        (disk.path / "lock").unlink()
    assert reserve.fill()


@pytest.mark.root
def test_what_is_missing_is_taken_when_there_is_room_again(disk: Disk) -> None:
    disk.fill()
    reserve = Reserve(disk.path / "reserve")
    assert not reserve.fill()
    disk.clear()
    assert reserve.fill()
    assert set(files(disk.path / "reserve").values()) == {32 * 1024}


@pytest.mark.root
def test_a_disk_that_became_read_only_does_not_stop_the_work(disk: Disk) -> None:
    reserve = Reserve(disk.path / "reserve")
    assert reserve.fill()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    with reserve.released():
        pass
    subprocess.run(["mount", "-o", "remount,rw", str(disk.path)], check=True)
    assert reserve.fill()
