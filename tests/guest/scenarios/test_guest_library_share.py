"""A program that uses the library on Cinder's NFS driver, and what is on the share however it ends (promise 24)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import state
from csi_cinderlib.host import mounts
from tests.guest.inside.backends import OPTIONS

pytestmark = pytest.mark.guest("contract-files")
SERVED = Path("/srv/nfs/volumes")
DRIVER, GIVEN = OPTIONS["nfs"]
OWN = {key: value for key, value in GIVEN.items() if key != "nfs_mount_point_base"}
"""The driver then mounts the share below the library's state directory."""
PROGRAM = f"""
import os, sys
from csi_cinderlib.cinderlib import Library

library = Library()
backend = library.backend("one", volume_driver={DRIVER!r}, **{OWN!r})
backend.create_volume(1, name="data")
if sys.argv[1] == "close":
    library.close()
elif sys.argv[1] == "exception":
    raise RuntimeError
elif sys.argv[1] != "normal":
    os.kill(os.getpid(), int(sys.argv[1]))
"""
ENDS = {"normal": 0, "close": 0, "exception": 1, **{str(int(one)): -one for one in (signal.SIGTERM, signal.SIGKILL)}}


@pytest.fixture
def directory(nfs_share: str, tmp_path: Path) -> Iterator[Path]:
    """The library's state directory; what the driver mounted below it stays mounted for the next process, by Cinder's design."""
    yield tmp_path / "state"
    for mount in reversed(list(mounts.table())):
        if mount.target.startswith(f"{tmp_path}/"):
            assert mount.source == nfs_share
            mounts.unmount(mount.target)


@pytest.mark.parametrize("end", ENDS)
def test_everything_stays_on_the_share(directory: Path, end: str) -> None:
    precious = SERVED / f"precious-{end}"
    precious.write_text("of somebody else")
    before = set(SERVED.iterdir())
    for _ in range(2):  # the second one finds the share mounted
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, end],
            env={**os.environ, state.VARIABLE: str(directory)}, capture_output=True, text=True, check=False, timeout=120,
            cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert done.returncode == ENDS[end], done.stderr
    assert precious.read_text() == "of somebody else"
    made = set(SERVED.iterdir()) - before
    assert [path.stat().st_size for path in made] == [1 << 30] * 2
    shown = [mount.target for mount in mounts.table() if mount.target.startswith(f"{directory}/")]
    assert len(shown) == 1
    for path in (*made, precious):
        path.unlink()
