"""How findings are printed."""

from __future__ import annotations

from csi_cinderlib.commands.examination.findings import note, ok, wrapped


def test_a_terminal_shows_all_of_a_finding_on_as_many_lines_as_it_needs() -> None:
    detail = "is not running: links such as /dev/disk/by-path are not made"
    rows = [ok("clock", "is synchronised").row(), note("udev", detail, "systemctl enable --now systemd-udevd").row()]
    assert list(wrapped(rows, 55)) == [
        "WHAT   LEVEL  FINDING",
        "clock  ok     is synchronised",
        "udev   note   is not running: links such as",
        "              /dev/disk/by-path are not made; advice:",
        "              systemctl enable --now systemd-udevd",
    ]


def test_no_terminal_is_too_narrow() -> None:
    assert max(map(len, wrapped([ok("a", "word " * 20).row()], 1))) <= 43
