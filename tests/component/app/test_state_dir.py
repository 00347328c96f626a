"""One process at a time on a state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csi_cinderlib.app import state_dir
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.host import processes
from tests.support.fuse_share import shared

HOLDER = """
import pathlib, sys, threading, time
from csi_cinderlib.app import state_dir
with state_dir.hold(pathlib.Path(sys.argv[1])):
    threading.Thread(target=pathlib.Path(sys.argv[2]).stat, daemon=True).start()
    print("held", flush=True)
    time.sleep(3600)
"""
NEWCOMER = """
import pathlib, sys
from csi_cinderlib.app import state_dir
from csi_cinderlib.errors import ConfigurationError
sys.stdin.readline()
try:
    with state_dir.hold(pathlib.Path(sys.argv[1])):
        print("won", flush=True)
        sys.stdin.readline()
except ConfigurationError as error:
    print(error, flush=True)
"""


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
        assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())


def test_a_killed_process_leaves_it_free(tmp_path: Path) -> None:
    code = f"import os, signal, pathlib; from csi_cinderlib.app import state_dir\nwith state_dir.hold(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    with state_dir.hold(tmp_path):
        assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())


def test_a_place_where_no_directory_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigurationError, match=r"cannot use the directory .*file/state: Not a directory"),
        state_dir.hold(tmp_path / "file" / "state"),
    ):
        pass


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def holder_that_hangs(tmp_path: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the state directory, and a thread that waits for a share; it is set free in the end."""
    with shared(tmp_path) as share:
        (share.files / "file").touch()
        share.hang()
        holder = run(HOLDER, state, share.path / "file")
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            share.wait_until_asked()
            yield holder
        finally:
            holder.kill()
            share.die()
            holder.communicate(timeout=60)


@pytest.mark.root
def test_a_killed_process_that_hangs_does_not_keep_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with holder_that_hangs(tmp_path, state) as holder:
        with pytest.raises(ConfigurationError, match=f"in use by process {holder.pid}"), state_dir.hold(state):
            pass
        holder.kill()
        with state_dir.hold(state):
            assert holder.poll() is None, "it is still there"
            assert (state / "lock").read_text().split()[0] == str(os.getpid())
            with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"), state_dir.hold(state):
                pass
        with state_dir.hold(state):
            pass


@pytest.mark.root
def test_one_of_several_takes_it_over(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with holder_that_hangs(tmp_path, state) as holder:
        newcomers = [run(NEWCOMER, state) for _ in range(6)]
        holder.kill()
        for newcomer in newcomers:
            assert newcomer.stdin
            newcomer.stdin.write("go\n")
            newcomer.stdin.flush()
        said = [newcomer.stdout.readline() for newcomer in newcomers if newcomer.stdout]
        for newcomer in newcomers:
            newcomer.communicate(timeout=60)
    assert said.count("won\n") == 1
    assert len([line for line in said if "in use by" in line]) == 5


@pytest.mark.root
def test_what_the_earlier_holder_frees_at_last_is_nobodys_lock(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with holder_that_hangs(tmp_path, state) as holder:
        holder.kill()
        newcomer = run(NEWCOMER, state)
        assert newcomer.stdin
        assert newcomer.stdout
        newcomer.stdin.write("go\n")
        newcomer.stdin.flush()
        assert newcomer.stdout.readline() == "won\n"
    try:
        with pytest.raises(ConfigurationError, match=f"in use by process {newcomer.pid}"), state_dir.hold(state):
            pass
    finally:
        newcomer.communicate(timeout=60)
    with state_dir.hold(state):
        pass


@pytest.mark.parametrize("text", ["", "garbage", "1", "0 1 2 3"])
def test_a_holder_that_cannot_be_told_keeps_it(tmp_path: Path, text: str) -> None:
    with state_dir.hold(tmp_path):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(ConfigurationError, match="is in use by process"), state_dir.hold(tmp_path):
            pass


def test_a_process_of_another_run_of_the_kernel_is_not_told(tmp_path: Path) -> None:
    me = processes.this()
    assert processes.parse(str(me)) == me
    assert me.can_be_told
    assert not processes.is_over(me)
    assert not processes.is_ending(me)
    for other in (f"{me.pid} {me.started} other {me.namespace}", f"{me.pid} {me.started} {me.boot} 1", f"{me.pid}"):
        process = processes.parse(other)
        assert process
        assert not process.can_be_told
        assert not processes.is_over(process)


def test_a_process_whose_id_was_given_to_another_one_is_not_over() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    me = processes.this()
    try:
        assert processes.is_over(processes.Process(child.pid))
        assert not processes.is_over(processes.Process(child.pid, "1", me.boot, me.namespace))
    finally:
        child.wait()
    assert not processes.is_over(processes.Process(child.pid)), "nobody can tell who it was"


THREADS = """
import threading, time
for _ in range(4):
    threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
print("busy", flush=True)
time.sleep(3600)
"""


def test_a_process_is_ending_from_the_moment_it_is_killed() -> None:
    """Whatever its threads do then: they are seen awake for as long as it takes them to notice."""
    for _ in range(20):
        holder = run(THREADS)
        assert holder.stdout
        assert holder.stdout.readline() == "busy\n"
        process = processes.Process(holder.pid)
        assert not processes.is_ending(process)
        os.kill(holder.pid, signal.SIGKILL)
        assert processes.is_ending(process)
        holder.communicate()
