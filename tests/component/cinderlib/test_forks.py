"""A forked child has its own connections, locks, driver and identity; the parent keeps its own. Each test runs a program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.cinderlib.conftest import NOTHING
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

ROOT = Path(__file__).parents[3]
PREFACE = f"""
import multiprocessing, os, sys, threading, time
import csi_cinderlib.cinderlib as cl
url, name, directory = sys.argv[1:]
config = {{"storage": "memory"}} if not url else {{"storage": "db", "connection": url}}
def back_end(**options):
    return cl.Backend(name, volume_driver={NOTHING!r}, **options)
def work(backend):
    for _ in range(5):
        volume = backend.create_volume(1)
        volume.extend(2)
        volume.create_snapshot().delete()
        volume.clone().delete()
        volume.connect({{"host": "h", "ip": "192.0.2.1"}}).disconnect()
        volume.delete()
def forked(function, *arguments):
    pid = os.fork()
    if pid:
        return pid
    try:
        function(*arguments)
        sys.stdout.flush()
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
        os._exit(1)
    os._exit(0)
def ended(*pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
"""


def run(tmp_path: Path, code: str, url: str = "") -> list[str]:
    arguments = [url, f"b-{uuid.uuid4()}", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREFACE + code, *arguments],
        capture_output=True, text=True, check=False, timeout=240, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'volumes.db'}"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


ALL_WORK = """
cl.setup(persistence_config=config)
backend = back_end()
first = backend.create_volume(1)
def child():
    work(backend)
    assert cl.Volume.get_by_id(first.id).size == 1
    print(backend._library.owner)
pids = [forked(child) for _ in range(4)]
work(backend)
print(backend._library.owner, flush=True)
assert ended(*pids) == [0] * 4
assert [volume.id for volume in backend.volumes_filtered()] == [first.id]
first.extend(3)
first.delete()
"""


def test_children_and_parent_work_at_the_same_time_on_a_server(server: PostgreSQL, tmp_path: Path) -> None:
    assert len(set(run(tmp_path, ALL_WORK, server.url))) == 5, "each has its own name"


def test_children_have_a_copy_of_the_records_in_memory(tmp_path: Path) -> None:
    assert len(set(run(tmp_path, ALL_WORK))) == 5


@pytest.mark.parametrize("patch", ["", "import eventlet; eventlet.monkey_patch()"])
def test_processes_of_multiprocessing_work(server: PostgreSQL, tmp_path: Path, patch: str) -> None:
    code = """
cl.setup(persistence_config=config)
backend = back_end()
processes = [multiprocessing.get_context("fork").Process(target=work, args=(backend,)) for _ in range(2)]
for process in processes:
    process.start()
work(backend)
for process in processes:
    process.join()
print([process.exitcode for process in processes], len(backend.volumes_filtered()))
"""
    assert run(tmp_path, f"{patch}\n{code}", server.url) == ["[0, 0] 0"]


def test_a_child_may_end_as_a_program_does(server: PostgreSQL, tmp_path: Path) -> None:
    code = """
cl.setup(persistence_config=config)
backend = back_end()
pid = os.fork()
work(backend)
if pid:
    assert ended(pid) == [0]
    work(backend)
    print(len(backend.volumes_filtered()))
cl.close()
"""
    assert run(tmp_path, code, server.url) == ["0"]


def test_a_file_of_sqlite_is_refused_while_the_parent_uses_it(tmp_path: Path) -> None:
    code = """
cl.setup(persistence_config=config)
backend = back_end()
work(backend)
assert ended(forked(backend.create_volume, 1)) == [1]
work(backend)
print(len(backend.volumes_filtered()))
"""
    refused, left = run(tmp_path, code, sqlite(tmp_path))
    assert refused.startswith("StoreInUse")
    assert "volumes.db is in use by another process (pid " in refused
    assert "use a database server, which several processes can share" in refused
    assert left == "0"


DAEMON = """
cl.setup(persistence_config=config)
backend = back_end()
first = backend.create_volume(1)
if os.fork():
    time.sleep(float(directory and 0.5))
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
try:
    first.extend(2)
    work(backend)
    text = f"{cl.Volume.get_by_id(first.id).size} {len(backend.volumes_filtered())}"
except BaseException as error:
    text = repr(error)
with open(f"{directory}/part", "w") as file:
    file.write(text)
os.rename(f"{directory}/part", f"{directory}/result")
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["sqlite", "memory", "server"])
def test_a_daemon_continues_with_the_set_up_of_its_parent(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Its parent ends shortly after the fork."""
    url = (
        {"sqlite": sqlite(tmp_path), "memory": ""}.get(kind)
        if kind != "server"
        else request.getfixturevalue("server").url
    )
    run(tmp_path, DAEMON, url or "")
    deadline = time.monotonic() + 60
    while not (tmp_path / "result").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "result").read_text() == "2 1"


def test_a_child_that_does_not_use_the_library_opens_nothing(server: PostgreSQL, tmp_path: Path) -> None:
    code = """
cl.setup(persistence_config=config)
backend = back_end()
def child():
    print(backend._library._opened, backend._core, threading.active_count())
assert ended(forked(child)) == [0]
assert ended(forked(os.execv, "/bin/true", ["/bin/true"])) == [0]
work(backend)
"""
    assert run(tmp_path, code, server.url) == ["None None 1"]


def test_locks_of_the_parents_threads_are_free_in_the_child(tmp_path: Path) -> None:
    code = """
cl.setup(persistence_config=config)
held = f"{directory}/held"
backend = back_end(nothing_held=held)
volume = backend.create_volume(1)
library = backend._library
begun, end = threading.Event(), threading.Event()
def hold():
    from oslo_concurrency import lockutils
    with backend.core.verbs._engine.lock("named"), cl.default._guard, lockutils.lock("in-process"), \\
            library.busy(volume.id), library._setting_up(name), library._guard, library._look_up:
        begun.set()
        end.wait()
thread = threading.Thread(target=hold, daemon=True)
thread.start()
assert begun.wait(60)
def child():
    from oslo_concurrency import lockutils
    volume.extend(2)
    with lockutils.lock("in-process"):
        work(cl.Backend(name, volume_driver=backend._cfg["volume_driver"], nothing_held=held))
    cl.close()
    cl.setup()
pid = forked(child)
deadline = time.monotonic() + 120
while os.waitpid(pid, os.WNOHANG) == (0, 0):
    assert time.monotonic() < deadline, "the child hangs"
    time.sleep(0.05)
end.set()
thread.join()
work(backend)
print("done")
"""
    assert run(tmp_path, code) == ["done"]


def test_an_open_store_cannot_be_shared_and_may_be_replaced_in_the_child(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from csi_cinderlib.persistence import plugins
cl.setup(persistence_config={"storage": plugins.open_store("sql", {"url": url}, state_dir=Path(directory))})
backend = back_end()
def child():
    try:
        backend.create_volume(1)
    except cl.exception.InvalidPersistence as error:
        print(error)
    cl.Backend.set_persistence({"storage": "memory"})
    work(backend)
assert ended(forked(child)) == [0]
work(backend)
"""
    (words,) = run(tmp_path, code, sqlite(tmp_path))
    assert "a forked process cannot share with its parent; call set_persistence() in the child" in words


def test_a_killed_child_leaves_the_parent_working(server: PostgreSQL, tmp_path: Path) -> None:
    code = f"""
cl.setup(persistence_config=config)
backend = back_end()
def child():
    work(backend)
    os.kill(os.getpid(), {int(signal.SIGKILL)})
assert ended(*[forked(child) for _ in range(3)]) == [-{int(signal.SIGKILL)}] * 3
work(backend)
print(len(backend.volumes_filtered()))
"""
    assert run(tmp_path, code, server.url) == ["0"]
