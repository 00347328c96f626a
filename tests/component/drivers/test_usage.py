"""Whether a file is in use, on file systems with leases and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.drivers import usage
from csi_cinderlib.drivers.usage import Usage
from csi_cinderlib.host import devices


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk with space.img"
    path.write_bytes(b"x" * 4096)
    return path


def test_an_open_file_is_in_use(file: Path) -> None:
    assert usage.look(str(file)) == Usage("", is_seen=True)
    with file.open("rb"):
        assert usage.look(str(file)) == Usage("in use: open in another process on this host", is_seen=True)


def test_an_open_file_is_found_among_the_processes_where_there_are_no_leases(file: Path) -> None:
    assert usage._file_system("/proc/self/status") not in usage._LOCAL
    assert not usage._is_open_in_process(str(file))
    with file.open("rb"):
        assert usage._is_open_in_process(str(file))


@pytest.mark.root
def test_an_attached_file_is_in_use(file: Path) -> None:
    device = devices.attach_file(str(file))
    try:
        assert usage.look(str(file)).problem == f"in use: attached to {device} on this host"
    finally:
        devices.detach_file(device, expected=devices.identity(device))


@pytest.mark.root
@pytest.mark.parametrize(("dropped", "is_seen"), [("-lease", False), ("+all", True)])
def test_the_use_of_a_file_of_another_user_is_not_seen_without_the_right_to_ask(
    file: Path, dropped: str, is_seen: bool
) -> None:
    """As in a container without capabilities. The file may be opened by everyone."""
    os.chown(file, 107, 107)
    file.chmod(0o666)
    program = "import sys; from csi_cinderlib.drivers import usage; print(usage.look(sys.argv[1]))"
    argv = ("setpriv", f"--bounding-set={dropped}", sys.executable, "-c", program, str(file))
    answer = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert answer.strip() == f"Usage(problem='', is_seen={is_seen})"
