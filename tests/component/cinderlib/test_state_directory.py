"""What the library keeps on disk: where it lies, that it outlives the process, and that no password is in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Library, state
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.host import mounts
from tests.component.cinderlib.conftest import NOTHING

CANARY = "canary-5e1f0c"
PROGRAM = f"""
import os, sys
from csi_cinderlib.cinderlib import Library
from csi_cinderlib.host import mounts

end, share = sys.argv[1:]
library = Library()
backend = library.backend("one", volume_driver="{NOTHING}", nothing_password="{CANARY}")
assert backend.core.driver.configuration.nothing_password == "{CANARY}"
from oslo_config import cfg
from pathlib import Path
exports = Path(backend.core.driver.configuration.safe_get("volumes_dir"))
exports.mkdir(exist_ok=True)
for file in (exports / "volume-1", Path(cfg.CONF.state_path, ".datacore_chap"), Path(cfg.CONF.state_path, "ssh_known_hosts")):
    file.write_text("of an array")
if share:
    target = library.runtime.state_dir / "cinder" / "mnt"
    target.mkdir()
    mounts.bind(share, str(target)) if share != "tmpfs" else mounts.mount("none", str(target), "tmpfs")
    (target / "volume").write_text("of somebody")
if end == "close":
    library.close()
elif end == "exception":
    raise RuntimeError
elif end != "normal":
    os.kill(os.getpid(), int(end))
"""
KEPT = ["ssh_known_hosts", "volumes/volume-1", ".datacore_chap"]
"""Host keys, what tgt exports, and a vendor's CHAP passwords, where Cinder's options have them by default."""
ENDS = ["normal", "close", "exception", str(int(signal.SIGTERM)), str(int(signal.SIGKILL))]


def run(tmp_path: Path, end: str, share: str = "") -> None:
    """Run the program in directories of its own, to the given end."""
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), state.VARIABLE: str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, end, share],
        env=environment, capture_output=True, text=True, check=False, timeout=240, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    expected = {"normal": 0, "close": 0, "exception": 1}.get(end)
    assert done.returncode == (-int(end) if expected is None else expected), done.stderr


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("end", ENDS)
def test_no_end_of_the_process_leaves_a_password_or_takes_the_state(tmp_path: Path, end: str) -> None:
    run(tmp_path, end)
    for kept in KEPT:
        assert (tmp_path / "state" / "cinder" / kept).read_text() == "of an array"
    assert [path for path in files(tmp_path) if CANARY.encode() in path.read_bytes()] == []
    assert files(tmp_path / "temporary") == []
    assert [path for path in Path("/tmp").glob("csi-cinderlib-*/cinder/cinder.conf") if CANARY in text_of(path)] == []


def text_of(path: Path) -> str:
    """ "" when it is gone by now: others make files there, too."""
    with suppress(OSError):
        return path.read_text()
    return ""


@pytest.mark.root
@pytest.mark.parametrize("end", ENDS)
def test_a_share_that_a_driver_mounted_keeps_its_files(tmp_path: Path, end: str) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "precious").write_text("of somebody else")
    try:
        run(tmp_path, end, str(share))
        assert (share / "precious").read_text() == "of somebody else"
        assert (share / "volume").read_text() == "of somebody"
    finally:
        mounts.unmount(str(tmp_path / "state" / "cinder" / "mnt"))


@pytest.mark.root
def test_another_file_system_keeps_its_files(tmp_path: Path) -> None:
    target = tmp_path / "state" / "cinder" / "mnt"
    try:
        run(tmp_path, "normal", "tmpfs")
        assert (target / "volume").read_text() == "of somebody"
    finally:
        mounts.unmount(str(target))


def test_processes_share_the_directory_and_keep_their_options_apart(tmp_path: Path) -> None:
    run(tmp_path, str(int(signal.SIGKILL)))
    library = Library(state_dir=tmp_path / "state")
    backend: Any = library.backend("one", volume_driver=NOTHING, nothing_password="another")
    assert backend.core.driver.configuration.nothing_password == "another"
    library.close()
    assert (tmp_path / "state" / "cinder" / "ssh_known_hosts").exists()


def test_root_has_it_below_var_lib_others_below_their_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(state.VARIABLE)
    monkeypatch.setattr(state, "OF_ROOT", tmp_path / "root")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state.make_directory() == tmp_path / "root"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/and/so/ignored")
    assert state.make_directory() == tmp_path / "home/.local/state/csi-cinderlib/library"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    made = state.make_directory()
    assert (made, made.stat().st_mode & 0o777) == (tmp_path / "xdg/csi-cinderlib/library", 0o700)


def test_a_directory_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(state.VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match=r"state_dir.*file/below: Not a directory; set another"):
        Library()
