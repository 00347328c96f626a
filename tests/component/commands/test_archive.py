"""A file that is there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.commands import archive
from csi_cinderlib.errors import HostError, InvalidRequest
from tests.support.disks import mounted

WRITE_AND_WAIT = """
import sys, time
from csi_cinderlib.commands import archive
with archive.created(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.mark.root
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, kind: str) -> None:
    with mounted(tmp_path / "disk", 32, kind) as disk:
        before = sorted(disk.path.iterdir())
        refused = pytest.raises(HostError, match=r"cannot write .*: No space left")
        with refused, archive.created(str(disk.path / "b.tar.gz")) as file:
            file.write(os.urandom(64 << 20))
        assert sorted(disk.path.iterdir()) == before
        with archive.created(str(disk.path / "b.tar.gz")) as file:
            file.write(b"whole")
        assert (disk.path / "b.tar.gz").read_bytes() == b"whole"


def test_a_file_system_without_nameless_files_leaves_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = os.open

    def refusing(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return known(path, flags, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(RuntimeError), archive.created(str(tmp_path / "b")) as file:
        file.write(b"half")
        raise RuntimeError("on the way")
    assert list(tmp_path.iterdir()) == []
    with archive.created(str(tmp_path / "b")) as file:
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path / "b")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match=r"cannot write .*/b: File exists"),
        archive.created(str(tmp_path / "b")) as file,
    ):
        file.write(b"mine")
        (tmp_path / "b").write_text("theirs")
    assert (tmp_path / "b").read_text() == "theirs"
    with pytest.raises(InvalidRequest, match="already exists"), archive.created(str(tmp_path / "b")):
        pass
