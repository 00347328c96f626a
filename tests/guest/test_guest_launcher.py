"""The launcher itself, tested from the host: each test boots guests of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.bed import guest as guests
from tests.guest.bed import kernel as kernels
from tests.guest.bed.fleet import Fleet, Group, Machine

pytestmark = pytest.mark.guest


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process, mount or file of a guest outlives it."""
    try:
        guests.default_kernel()
    except kernels.Unavailable as reason:
        pytest.skip(f"no guest: {reason}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()
    assert not [pid for pid in Path("/proc").glob("[0-9]*/cmdline") if str(scratch) in _text(pid)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def run(*command: str, **options: object) -> tuple[int, str]:
    output = bytearray()
    with guests.Guest(["bash", "-c", *command], output=output.extend, **options) as guest:  # type: ignore[arg-type]  # passed on
        return guest.wait(), output.decode()


def test_the_commands_output_and_exit_code_come_back() -> None:
    assert run("echo to stdout; echo to stderr >&2; exit 7") == (7, "to stdout\nto stderr\n")


def test_the_environment_and_the_working_directory_are_the_callers() -> None:
    assert run('echo "$GREETING"; pwd', env={"GREETING": "it's 'quoted'"}) == (0, f"it's 'quoted'\n{Path.cwd()}\n")


def test_only_shares_are_written_to(tmp_path: Path) -> None:
    share, other = tmp_path / "share", tmp_path / "other"
    share.mkdir()
    other.mkdir()
    code, output = run(f"echo kept > {share}/file; echo lost > {other}/file; cat {other}/file", shares=[share])
    assert (code, output) == (0, "lost\n")
    assert (share / "file").read_text() == "kept\n"
    assert list(other.iterdir()) == []


def test_a_disk_file_keeps_what_was_synced_before_the_power_was_cut(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 64 << 20)
    seen = bytearray()
    write = "mkfs.ext4 -q /dev/ubda && mount /dev/ubda /mnt && echo safe > /mnt/file && sync && echo ready && sleep 60"
    with guests.Guest(["bash", "-c", write], disks=[disk], output=seen.extend) as guest:
        guest.wait_for(lambda: b"ready" in seen)
        guest.kill()
    assert run(
        "mount /dev/ubda /mnt && cat /mnt/file && umount /mnt && e2fsck -fn /dev/ubda >/dev/null 2>&1", disks=[disk]
    ) == (0, "safe\n")


def test_a_guest_that_takes_too_long_is_ended_and_shows_its_kernel_log() -> None:
    started = time.monotonic()
    with pytest.raises(guests.GuestFailure, match=r"(?s)ran out of time after 20 s.*kernel log.*init-first"):
        run("sleep 200", timeout=20)
    assert time.monotonic() - started < 120


def test_a_kernel_panic_is_a_failure_with_the_kernels_last_words() -> None:
    with pytest.raises(guests.GuestFailure, match=r"(?s)died before its command ended.*sysrq"):
        run("echo c > /proc/sysrq-trigger; sleep 100", timeout=120)


def test_debians_own_kernel_boots_too() -> None:
    try:
        kernel = kernels.debian()
    except kernels.Unavailable as reason:
        pytest.skip(str(reason))
    assert run("uname -r", kernel=kernel) == (0, f"{kernel.name}\n")


def test_no_kernel_at_all_is_a_skip_with_the_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> kernels.Kernel:
        raise kernels.Unavailable("no mirror")

    monkeypatch.setattr(guests, "default_kernel", none)
    group = Group("none", Machine(), ["some/test.py::test_x"], verbose=False)
    assert Fleet([group], at_once=1).results("some/test.py::test_x") == ([], "skip:no mirror")


def test_a_test_that_kills_its_guest_fails_alone() -> None:
    names = [f"tests/guest/bed/deadly.py::test_{name}" for name in ("before", "deadly", "after")]
    fleet = Fleet([Group("deadly", Machine(timeout=120), names, verbose=False)], at_once=1)
    problems = [fleet.results(name)[1] for name in names]
    fleet.stop()
    assert [problem.partition("\n")[0] for problem in problems] == ["", "the guest died before its command ended", ""]
