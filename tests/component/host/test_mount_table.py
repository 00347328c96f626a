"""Lines of the mount table (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import mounttable
from csi_cinderlib.host.mounttable import Mount, parse_line, table

LINE = "36 35 98:7 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue"


def test_each_field_has_its_place() -> None:
    assert parse_line(LINE) == Mount(
        id=36,
        parent=35,
        device=os.makedev(98, 7),
        root="/mnt1",
        target="/mnt2",
        options=("rw", "noatime"),
        propagation=("shared:1", "master:2"),
        fs_type="ext3",
        source="/dev/root",
        super_options=("rw", "errors=continue"),
    )


def test_a_private_mount_has_no_propagation() -> None:
    private, shared = parse_line(LINE.replace(" shared:1 master:2", "")), parse_line(LINE)
    assert (private.propagation, private.shared, shared.shared) == ((), False, True)
    assert not parse_line(LINE.replace("shared:1 ", "")).shared


@pytest.mark.parametrize(
    ("mount", "file_system", "read_only"), [("rw", "rw", False), ("ro", "rw", True), ("rw", "ro", True)]
)
def test_a_mount_is_read_only_by_itself_or_by_its_file_system(mount: str, file_system: str, read_only: bool) -> None:
    assert parse_line(f"36 35 0:5 / /x {mount},noatime - ext4 /dev/sda {file_system}").read_only is read_only


def test_escapes_are_undone_in_whatever_may_hold_them() -> None:
    found = parse_line(r"36 35 0:5 /a\040b /c\011d\134\012 rw - fuse.x\040y /dev/e\040f rw")
    assert (found.root, found.target, found.fs_type, found.source) == ("/a b", "/c\td\\\n", "fuse.x y", "/dev/e f")


def test_a_path_in_utf_8_or_in_no_encoding_keeps_its_bytes() -> None:
    target = os.fsdecode("/gr\u00fcn \xff".encode() + b"\xfe")
    escaped = target.replace(" ", r"\040")
    assert parse_line(f"36 35 0:5 / {escaped} rw - ext4 /dev/sda rw").target == target


@pytest.mark.parametrize(
    ("root", "fs_type", "may_be"),
    [
        ("/sdx", "devtmpfs", True),
        ("/", "devtmpfs", False),
        ("/sdx", "tmpfs", True),
        ("/sdx", "overlay", True),
        ("/sdx", "nfs4", False),
        ("/sdx", "fuse.sshfs", False),
    ],
)
def test_only_a_part_of_a_file_system_that_always_answers_may_be_a_bound_node(
    root: str, fs_type: str, may_be: bool
) -> None:
    assert parse_line(f"36 35 0:6 {root} /t rw - {fs_type} /dev/y rw").may_be_node is may_be


def test_blanks_in_a_file_systems_own_options_are_part_of_them() -> None:
    found = parse_line("36 35 0:6 / /t rw - 9p C:\\134 rw,aname=drvfs;path=C:\\Program Files;uid=0")
    assert (found.fs_type, found.source) == ("9p", "C:\\")
    assert found.super_options == ("rw", "aname=drvfs;path=C:\\Program Files;uid=0")


def test_a_line_that_is_none_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(f"{LINE}\nrest of an option\n{LINE.replace('36 35', '37 36')}\n")
    monkeypatch.setattr(mounttable, "MOUNTINFO", tmp_path / "mountinfo")
    assert [item.id for item in table()] == [36, 37]


def test_the_table_is_in_the_kernels_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [LINE, LINE.replace("36 35", "37 36"), LINE.replace("36 35", "38 37")]
    (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(mounttable, "MOUNTINFO", tmp_path / "mountinfo")
    assert [item.id for item in table()] == [36, 37, 38]
    monkeypatch.setattr(mounttable, "MOUNTINFO", tmp_path / "missing")
    with pytest.raises(HostError, match="cannot read the mount table: No such file"):
        table()


def test_a_mount_that_got_the_id_of_another_one_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that were parsed are kept by their whole text: the kernel gives the lowest id that is free."""
    monkeypatch.setattr(mounttable, "MOUNTINFO", tmp_path / "mountinfo")
    for line in (LINE, LINE.replace("/dev/root", "/dev/sdb"), LINE.replace("/mnt2", "/mnt3"), LINE):
        (tmp_path / "mountinfo").write_text(f"{line}\n")
        assert table() == (parse_line.__wrapped__(line),)
