"""One process at a time on a state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.app import state_dir
from csi_cinderlib.errors import ConfigurationError


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with state_dir.hold(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with (
        state_dir.hold(tmp_path),
        pytest.raises(ConfigurationError, match=f"state_dir: {tmp_path} is in use by process {os.getpid()}"),
        state_dir.hold(tmp_path),
    ):
        pass


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    with state_dir.hold(tmp_path):
        pass
    with state_dir.hold(tmp_path):
        assert (tmp_path / "lock").read_text().split() == [str(os.getpid())]


def test_a_killed_process_leaves_it_free(tmp_path: Path) -> None:
    code = f"import os, signal, pathlib; from csi_cinderlib.app import state_dir\nwith state_dir.hold(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    with state_dir.hold(tmp_path):
        assert (tmp_path / "lock").read_text().split() == [str(os.getpid())]


def test_a_place_where_no_directory_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match="file/state cannot be used: Not a directory"),
        state_dir.hold(tmp_path / "file" / "state"),
    ):
        pass
