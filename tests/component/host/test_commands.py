from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands
from tests.support import processes
from tests.support.repeating import until


def test_a_command_gets_its_input_and_gives_its_output() -> None:
    output = commands.run(["cat"], timeout=60, input=b"to and fro")
    assert output.stdout == "to and fro"
    assert output.code == 0


def test_standard_input_is_empty_unless_given() -> None:
    assert commands.run(["cat"], timeout=60).stdout == ""


def test_an_unexpected_exit_code_shows_the_command_and_its_errors() -> None:
    with pytest.raises(HostError, match=r"ls /no-such-place: exit code 2: .*No such file"):
        commands.run(["ls", "/no-such-place"], timeout=60)


def test_exit_codes_can_be_allowed() -> None:
    assert commands.run(["false"], timeout=60, ok=(0, 1)).code == 1


def test_words_are_not_seen_by_a_shell() -> None:
    assert commands.run(["echo", "$HOME; ls *"], timeout=60).stdout == "$HOME; ls *\n"


def test_output_has_no_repr_of_what_was_written() -> None:
    assert "s3cret" not in repr(commands.run(["echo", "s3cret"], timeout=60))


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    script, pid = tmp_path / "slow", tmp_path / "pid"
    script.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {pid}\nwait\n")
    script.chmod(0o755)
    for seconds in (0.3, 3, 30):  # until it gets as far as to have a child
        pid.write_text("")
        with pytest.raises(HostError, match=f"killed after a timeout of {seconds} s$"):
            commands.run([str(script)], timeout=seconds)
        if pid.read_text():
            break
    child = int(pid.read_text())
    until(lambda: not processes.is_running(child))  # it would go on for 600 seconds


def test_a_missing_tool_is_named_with_its_debian_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(commands, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"mkfs.xfs is not installed .* package xfsprogs"):
        commands.run(["mkfs.xfs"], timeout=60)
    with pytest.raises(HostError, match=r"frobnicate is not installed on this host$"):
        commands.run(["frobnicate"], timeout=60)


def test_tools_outside_of_path_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert os.access(commands.find_tool("mkfs.ext4"), os.X_OK)


def test_a_command_ended_by_a_signal_says_which() -> None:
    with pytest.raises(HostError, match="killed by SIGTERM"):
        commands.run(["sh", "-c", "kill $$"], timeout=60)


def test_a_file_that_is_no_program_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"\0\1\2")
    path.chmod(0o755)
    with pytest.raises(HostError, match=r"cannot start .*: Exec format error"):
        commands.run([str(path)], timeout=60)
