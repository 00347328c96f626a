from __future__ import annotations

import os

import pytest

from csi_cinderlib.host import mountoptions, mounttable


@pytest.mark.parametrize(
    ("words", "flags", "data"),
    [
        ((), 0, ()),
        (("ro", "nosuid"), 1 | 2, ()),
        (("noatime,nodiratime",), 1024 | 2048, ()),
        (("ro", "rw"), 0, ()),
        (("defaults", "_netdev", "x-systemd.automount", "nofail"), 0, ()),
        (("discard", "noatime", "logbufs=8"), 1024, ("discard", "logbufs=8")),
        (('context="system_u:object_r:t:s0:c1,c2",ro',), 1, ('context="system_u:object_r:t:s0:c1,c2"',)),
        (("bind", "remount", "rbind"), 0, ("bind", "remount", "rbind")),
        (("", ","), 0, ()),
    ],
)
def test_options_become_flags_and_data(words: tuple[str, ...], flags: int, data: tuple[str, ...]) -> None:
    assert mountoptions.parse(words) == mountoptions.Options(flags, data)


def test_a_line_of_mountinfo_is_parsed_with_its_escapes() -> None:
    line = (
        r"36 35 98:2 /sub\040dir /mnt/a\040b\134c\011\012 rw,noatime shared:1 master:2 - ext3 /dev/r\040oot rw,errors=x"
    )
    item = mounttable.parse_line(line)
    assert (item.id, item.parent, item.device) == (36, 35, os.makedev(98, 2))
    assert item.root == "/sub dir"
    assert item.target == "/mnt/a b\\c\t\n"
    assert item.propagation == ("shared:1", "master:2")
    assert (item.fs_type, item.source) == ("ext3", "/dev/r oot")
    assert item.shared
    assert not item.read_only


def test_a_mount_without_propagation_is_private_and_read_only_shows() -> None:
    item = mounttable.parse_line("1 2 0:3 / /x ro - tmpfs none rw,size=1k")
    assert item.propagation == ()
    assert item.read_only
    assert item.super_options == ("rw", "size=1k")


def test_names_that_are_not_utf_8_are_kept() -> None:
    item = mounttable.parse_line(os.fsdecode(b"1 2 0:3 / /x\xff\\040 rw - tmpfs none rw"))
    assert os.fsencode(item.target) == b"/x\xff "


def test_the_table_of_this_machine_has_a_root() -> None:
    assert "/" in {item.target for item in mounttable.table()}
