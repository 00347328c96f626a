"""Options of mkfs are tried on a file that takes no space."""

from __future__ import annotations

import resource
import subprocess
import threading

import pytest

from csi_cinderlib.host import mkfstrial
from csi_cinderlib.host.commands import Output
from csi_cinderlib.host.mkfsoptions import complaint
from csi_cinderlib.model.size import Bytes

GIB, TIB = 1024**3, 1024**4
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")


def refusal(fs_type: str, *options: str, size: int = GIB) -> str:
    return mkfstrial.refusal(fs_type, options, size=Bytes(size))


def peak_of_children() -> int:
    """KiB. Of each child, what this process has counts as well, since it began in the memory of this one: also of one that does nothing."""
    subprocess.run(["true"], check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_no_options_are_never_refused(fs_type: str) -> None:
    assert refusal(fs_type, size=1) == ""


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_where_mkfs_fails_without_the_options_as_well_nothing_is_refused(fs_type: str) -> None:
    assert refusal(fs_type, "-L", "disk", size=4096) == ""


def test_a_file_that_cannot_be_made_tells_nothing() -> None:
    assert refusal("ext4", "-b", "512", size=-1) == ""


@pytest.mark.parametrize(("fs_type", "option"), [("ext4", "-i65536"), ("xfs", "-isize=1024"), ("btrfs", "-n32k")])
def test_a_large_volume_takes_neither_its_space_nor_its_memory(fs_type: str, option: str) -> None:
    before = peak_of_children()
    assert refusal(fs_type, option, size=2**63 - GIB) == ""
    assert peak_of_children() - before < 512 * 1024


def test_a_class_costs_once_for_each_size() -> None:
    mkfstrial._judge.cache_clear()
    for size in (GIB, 2 * GIB, GIB):
        assert refusal("xfs", "-i", "size=1024", size=size) == ""
    assert (mkfstrial._judge.cache_info().hits, mkfstrial._judge.cache_info().misses) == (1, 2)


def test_what_could_not_be_told_is_asked_again() -> None:
    mkfstrial._judge.cache_clear()
    for _ in range(2):
        refusal("ext4", "-b", "512", size=-1)
    assert mkfstrial._judge.cache_info().currsize == 0


def test_many_at_once_do_not_disturb_one_another() -> None:
    mkfstrial._judge.cache_clear()
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = refusal("ext4", "-J", f"size={number}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bool(answers[number]) for number in range(1, 9)] == [True] * 3 + [False] * 5


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "exit code 3"),
        ("mke2fs 1.47.0 (5-Feb-2023)\nmkfs.ext4: invalid block size - 512\n", "invalid block size - 512"),
        ("Warning: blocksize 8192\nmkfs.ext4: too big\nProceed anyway? (y,N)", "too big"),
        ("/dev/loop0: could not parse UUID: xyz", "could not parse UUID: xyz"),
        ("ERROR: ERROR: unable to create\nERROR: second", "unable to create"),
        ("it must be\nbetween 1 and 2 blocks.  Aborting.\n", "it must be between 1 and 2 blocks"),
        ("unknown option -m x\nUsage: mkfs.xfs\n/* blocksize */", "unknown option -m x"),
    ],
)
def test_what_mkfs_says_is_told_on_one_line_without_names_and_usage(said: str, told: str) -> None:
    assert complaint(Output(stdout="", stderr=said, code=3)) == told


def test_options_that_need_much_memory_are_left_to_the_node() -> None:
    before = peak_of_children()
    assert refusal("ext4", "-g", "256", "-N", "4200000000", size=64 * TIB) == ""
    assert peak_of_children() - before < 256 * 1024


@pytest.mark.parametrize(
    ("fs_type", "options", "named"),
    [
        ("ext4", ("-b", ""), "'-b '"),
        ("ext4", ("-v", "-b", "9"), "'-b 9'"),
        ("ext4", ("-b", "-5"), "'-b -5'"),
        ("ext4", ("-Onope\n",), r"'-O nope\n'"),
        ("btrfs", ("--csum=", "--mixed"), "'--csum '"),
        ("xfs", ("-K", "-L", "ä" * 99), f"'-L {'ä' * 99}'"),
    ],
)
def test_odd_values_are_named_as_they_were_given(fs_type: str, options: tuple[str, ...], named: str) -> None:
    told = refusal(fs_type, *options)
    assert told.startswith(f"mkfs.{fs_type} cannot use {named} for a volume of 1 GiB: ")
    assert "\n" not in told
