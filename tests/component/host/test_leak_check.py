"""The check at the end of every run, tried on runs that leave something behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from csi_cinderlib.host import devices
from tests.support.processes import is_running
from tests.support.repeating import until

TESTS = Path(__file__).parents[2]


def run(
    tmp_path: Path, body: str, *, fixture: str = "", options: Sequence[str] = (), grace: int = 60
) -> subprocess.CompletedProcess[str]:
    """Run one test with the suite's conftest as a plugin. What the test leaves is waited for as long as `grace` says."""
    (tmp_path / "test_inner.py").write_text(
        "import os, pytest\n"
        f"@pytest.fixture(scope='module')\ndef fixture():\n    {fixture or 'pass'}\n"
        f"def test_inner(tmp_path, fixture):\n    {body}\n"
    )
    # PYTEST_ADDOPTS may name plugins that are missing there; the run is no worker of the run that this test belongs to.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_ADDOPTS", "PYTEST_XDIST"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "conftest", f"--basetemp={tmp_path}/base", *options,
         str(tmp_path / "test_inner.py")],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", "CINDERLIB_TEST_GRACE": str(grace), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=300, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )  # fmt: skip


def started(*command: str) -> str:
    """The beginning of a test that starts a process, in a session of its own, and sees it run."""
    return (
        f"import subprocess; child = subprocess.Popen({command!r}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "    while not open(f'/proc/{child.pid}/environ').read(): pass\n"
    )


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "assert True")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("options", [[], ["-p", "xdist.plugin", "-n", "2"]], ids=["in one process", "in workers"])
def test_a_run_that_leaves_a_process_fails_and_names_it(tmp_path: Path, options: list[str]) -> None:
    done = run(tmp_path, started("sleep", "86"), options=options, grace=1)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "sleep 86" in line and line.startswith("process "))
    os.kill(int(line.split()[1].rstrip(":")), signal.SIGKILL)


@pytest.mark.parametrize("options", [[], ["-p", "xdist.plugin", "-n", "2"]], ids=["in one process", "in workers"])
def test_a_run_that_is_interrupted_ends_what_it_started(tmp_path: Path, options: list[str]) -> None:
    pid = tmp_path / "pid"
    body = f"{started('sleep', '87')}    open({str(pid)!r}, 'w').write(str(child.pid))"
    interrupt = "\n    import signal; os.kill(os.getppid() if 'PYTEST_XDIST_WORKER' in os.environ else os.getpid(), signal.SIGINT)"
    done = run(tmp_path, f"{body}{interrupt}\n    import time; time.sleep(60)", options=options)
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    until(lambda: not is_running(int(pid.read_text())))


@pytest.mark.root
def test_a_run_that_leaves_a_loop_device_fails_and_names_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "from csi_cinderlib.host import devices\n"
        "    (tmp_path / 'left.img').write_bytes(bytes(1 << 20)); devices.attach_file(str(tmp_path / 'left.img'))",
        grace=1,
    )
    (left,) = (tmp_path / "base").rglob("left.img")
    device = devices.find_attached(str(left))
    assert device
    devices.detach_from(str(left))
    assert done.returncode == 1
    assert f"loop device {device} on {left}" in done.stdout


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("os.environ['LEFT'] = '1'", "the environment variable LEFT"),
        ("del os.environ['HOME']", "the environment variable HOME"),
        ("os.chdir('/')", "the working directory"),
        (
            "import threading; threading.Thread(target=threading.Event().wait, args=(20,), name='t').start()",
            "the thread 't'",
        ),
        (
            "from pathlib import Path; from csi_cinderlib.cinder.runtime import Runtime; from csi_cinderlib.cinder.work import Route\n"
            "    Runtime(Path()).routes.add(Route('a', 'h@a', None))",
            "the back end 'h@a'",
        ),
    ],
    ids=["variable", "removed variable", "directory", "thread", "back end"],
)
def test_a_test_fails_that_changes_what_the_next_one_sees(tmp_path: Path, body: str, name: str) -> None:
    done = run(tmp_path, body, grace=1)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"this test changed what the next one sees: {name}" in done.stdout


def test_a_fixture_of_a_module_may_keep_what_it_takes_down_itself(tmp_path: Path) -> None:
    kept = run(tmp_path, "pass", fixture="os.environ['KEPT'] = '1'; yield; del os.environ['KEPT']")
    assert kept.returncode == 0, kept.stdout
    forgotten = run(tmp_path, "pass", fixture="os.environ['FORGOTTEN'] = '1'", grace=1)
    assert forgotten.returncode == 1
    assert "fixture 'fixture' left behind: the environment variable FORGOTTEN" in forgotten.stdout
