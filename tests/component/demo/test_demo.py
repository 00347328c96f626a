"""The demo does the real thing, and leaves nothing behind however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from csi_cinderlib.demo.sandbox import sweep
from csi_cinderlib.host import mounts

pytestmark = pytest.mark.root
DEMO = [sys.executable, "-m", "csi_cinderlib", "demo"]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Give temporary files a directory of their own, so that leftovers are seen; a short one, since a socket's path has a limit."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        directory = Path(name)
        yield {**os.environ, "TMPDIR": name}
        assert list(directory.iterdir()) == []
        assert _loops(directory) == []


def _loops(directory: Path) -> list[str]:
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # somebody else has detached it meanwhile
            found.append(path.read_text())
    return [path for path in found if path.startswith(str(directory))]


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("where", ["mnt", "node/staging"])
def test_the_sweep_takes_mounts_down_and_keeps_what_is_on_them(tmp_path: Path, kind: str, where: str) -> None:
    root, share = tmp_path / "demo", tmp_path / "share"
    for directory in (root / where, share):
        directory.mkdir(parents=True)
    (share / "precious").write_text("of somebody else")
    target = str(root / where)
    mounts.bind(str(share), target) if kind == "bind" else mounts.mount("none", target, "tmpfs")
    (Path(target) / "volume").write_text("of the driver")
    sweep(root)
    assert not root.exists()
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
    assert (share / "precious").read_text() == "of somebody else"
    assert (share / "volume").exists() is (kind == "bind")


def test_every_step_works_and_every_checksum_agrees(environment: dict[str, str]) -> None:
    outcome = subprocess.run(
        [*DEMO, "--json"], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    *steps, last = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert outcome.returncode == 0, outcome.stderr
    assert last["ok"] and last["steps"] == len(steps) > 80
    assert all(step["ok"] for step in steps)
    assert {step["section"] for step in steps} >= {"A volume with ext4", "A volume with xfs", "A raw block volume"}


def test_without_a_terminal_it_prints_plain_lines(environment: dict[str, str]) -> None:
    outcome = subprocess.run(DEMO, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "\x1b" not in outcome.stdout
    assert outcome.stdout.rstrip().endswith("all checksums are correct, everything was removed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "moment", ["start it", "stage it: attach the device, ext4", "take a snapshot while it is in use"]
)
def test_stopped_in_the_middle_it_leaves_nothing_behind(environment: dict[str, str], number: int, moment: str) -> None:
    with subprocess.Popen(
        [*DEMO, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout
        # The least: a full one holds the demo up until this process has read that it is time.
        fcntl.fcntl(demo.stdout, fcntl.F_SETPIPE_SZ, 4096)
        for line in demo.stdout:
            if json.loads(line).get("step") == moment:
                demo.send_signal(number)
                break
        output, errors = demo.communicate(timeout=240)
    assert demo.returncode == 130, errors
    assert json.loads(output.splitlines()[-1])["result"] == "interrupted; everything was removed"


@pytest.mark.parametrize(
    ("tail", "code", "error"),
    [
        ("| head -1 >/dev/null", 0, ""),
        ("> /dev/full", 1, "csi-cinderlib demo: standard output: No space left on device\n"),
    ],
)
def test_output_that_nobody_reads_ends_it_and_it_leaves_nothing_behind(
    tail: str, code: int, error: str, environment: dict[str, str]
) -> None:
    line = f"{sys.executable} -m csi_cinderlib demo --json {tail}; exit ${{PIPESTATUS[0]}}"
    outcome = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (code, error)


def test_a_failing_driver_is_told_with_its_reason_and_leaves_nothing_behind(environment: dict[str, str]) -> None:
    broken = {**environment, "PYTHONPATH": str(Path(__file__).parent / "broken")}
    outcome = subprocess.run([*DEMO, "--json"], env=broken, capture_output=True, text=True, timeout=240, check=False)
    assert outcome.returncode == 1
    assert "csi-cinderlib demo: the driver ended with code" in outcome.stderr
    assert "is deliberately broken" in outcome.stderr


def test_a_container_that_may_not_mount_is_told_what_it_lacks(environment: dict[str, str]) -> None:
    argv = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *DEMO]
    outcome = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert outcome.returncode == 1
    assert "the demo needs the capability CAP_SYS_ADMIN to mount" in outcome.stderr
