"""The library works whatever a program imports before and after it, with and without eventlet's monkey patching.

Each case is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.cinderlib.conftest import NOTHING
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[3]
OURS = "import csi_cinderlib.cinderlib as cl"
PATCH = "import eventlet; eventlet.monkey_patch()"
OTHERS = (
    "import eventlet",
    "import eventlet; eventlet.monkey_patch(thread=False)",
    PATCH,
    "import os_brick.initiator.connector",
    "import oslo_messaging",
    "import oslo_service.loopingcall, oslo_service.service",
    "import futurist, taskflow",
    "import cinder.exception",
    "import cinder.context",
    "import cinder.db.api",
    "import cinder.ssh_utils",
    "import cinder.volume.driver",
    "from cinder import objects; objects.register_all(); import cinder.volume.manager, cinder.volume.drivers.lvm",
    "from cinder.cmd import volume",
    "import cinder.monkey_patch; cinder.monkey_patch.patch()",
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=240, cwd=ROOT,
    )  # fmt: skip


def whole_life(directory: Path, *steps: str, url: str = "", threads: int = 1) -> None:
    live = f"from tests.component.cinderlib import whole_life; whole_life.run(cl, {str(directory)!r}, {url!r}, threads={threads})"
    done = run("\n".join([*steps, live]))
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["done"], 0), done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.mark.parametrize("other", OTHERS)
def test_another_import_comes_before_the_library(tmp_path: Path, other: str) -> None:
    whole_life(tmp_path, other, OURS)


@pytest.mark.parametrize("other", OTHERS)
def test_another_import_comes_between_the_library_and_its_set_up(tmp_path: Path, other: str) -> None:
    whole_life(tmp_path, OURS, other)


def test_other_imports_come_after_a_back_end(tmp_path: Path) -> None:
    used = f"cl.Backend('earlier', volume_driver={NOTHING!r}).create_volume(1); cl.close()"
    late = (
        "import eventlet, os_brick.initiator.connector, oslo_messaging, oslo_service.service, cinder.context, taskflow"
    )
    whole_life(tmp_path, OURS, used, late)


@pytest.mark.parametrize("steps", [(PATCH, OURS), (OURS, PATCH), (OURS, "import eventlet"), ("import eventlet", OURS)])
def test_threads_work_at_the_same_time_on_a_database_server(
    server: PostgreSQL, tmp_path: Path, steps: tuple[str, str]
) -> None:
    whole_life(tmp_path, *steps, url=server.url, threads=4)


BACKEND = f"cl.Backend('a', volume_driver={NOTHING!r})"


@pytest.mark.parametrize(
    "steps",
    [
        (OURS, "cl.setup()", PATCH, BACKEND),
        (OURS, BACKEND, PATCH),
        ("import eventlet", OURS, BACKEND, "eventlet.monkey_patch()"),
        ("import eventlet", OURS, BACKEND, "eventlet.patcher.monkey_patch(thread=True)"),
    ],
)
def test_patching_after_the_set_up_is_refused_with_the_remedy(steps: tuple[str, ...]) -> None:
    done = run("\n".join(steps))
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr
    assert "before setup() and the first Backend(...)" in done.stderr


def test_sockets_can_be_patched_after_the_set_up() -> None:
    done = run(f"import eventlet\n{OURS}\n{BACKEND}\neventlet.monkey_patch(socket=True)")
    assert (done.stderr, done.returncode) == ("", 0)


POOLS = """
from cinder import ssh_utils
import cinder.utils
print(ssh_utils.SSHPool.__mro__[1].__module__, cinder.utils.tpool.__spec__.origin is None)
import eventlet
print(eventlet.__file__ is not None)
"""


def test_cinder_gets_native_pools_and_the_program_keeps_its_eventlet() -> None:
    """Pools of the real eventlet deadlock between native threads."""
    done = run(f"import eventlet, cinder.ssh_utils\n{OURS}\n{BACKEND}\n{POOLS}")
    assert done.stdout.split() == ["csi_cinderlib.cinder.eventlet_standin", "True", "True"], done.stderr


def test_cinder_gets_the_real_eventlet_in_a_patched_process() -> None:
    done = run(f"{PATCH}\n{OURS}\n{BACKEND}\n{POOLS}")
    assert done.stdout.split() == ["eventlet.pools", "False", "True"], done.stderr


def test_drivers_get_looping_calls_that_end_with_their_back_end_in_any_process() -> None:
    code = f"import oslo_service.loopingcall\n{OURS}\n{BACKEND}\nprint(oslo_service.loopingcall.FixedIntervalLoopingCall.__module__)"
    for first in ("", PATCH):
        assert run(f"{first}\n{code}").stdout == "oslo_service.backend._threading.loopingcall\n"


def test_the_import_creates_no_lock() -> None:
    """A lock from before `monkey_patch` stops all green threads when one waits for it."""
    code = """
import gc, sys, types
import csi_cinderlib.cinderlib, csi_cinderlib.cinder.cinder_driver, csi_cinderlib.persistence.sql.opening
lock, rlock = type(__import__("_thread").allocate_lock()), type(__import__("threading").RLock())
seen, found = set(), []
def walk(value, place):
    if id(value) in seen or isinstance(value, (types.ModuleType, types.FunctionType, str, bytes, int)):
        return
    seen.add(id(value))
    if isinstance(value, (lock, rlock)):
        found.append(place)
    elif type(value).__module__.startswith("csi_cinderlib") or isinstance(value, (dict, list, tuple, set)):
        for held in gc.get_referents(value):
            walk(held, place)
for name, module in list(sys.modules.items()):
    if name.startswith("csi_cinderlib"):
        for key, value in vars(module).items():
            if not key.startswith("__"):
                walk(value, f"{name}.{key}")
print(*found)
"""
    assert run(code).stdout.split() == ["csi_cinderlib.observe.redact._guard"], (
        "this one is never held while a thread waits"
    )
