"""Cinder as a library in this process: what is changed in it, and what is left alone."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import standins
from csi_cinderlib.cinder.patches import PATCHES
from csi_cinderlib.cinder.runtime import Runtime, _process

ROOT = Path(__file__).parents[3]
START = """
import json, logging, sys, threading
from pathlib import Path
root = logging.getLogger()
before = list(root.handlers), root.level, sys.excepthook
from csi_cinderlib.cinder.runtime import Runtime
imported = [name for name in sys.modules if name.partition(".")[0] in ("cinder", "os_brick", "oslo_config")]
runtime = Runtime(Path(sys.argv[1]))
runtime.start()
"""


def in_a_new_process(code: str, state: Path, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", START + code, str(state)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def manager_source() -> ast.Module:
    found = importlib.util.find_spec("cinder")
    assert found is not None
    assert found.origin is not None
    return ast.parse((Path(found.origin).parent / "volume" / "manager.py").read_text())


def assigned(name: str) -> ast.expr:
    for node in manager_source().body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return node.value
    raise AssertionError(name)


def test_the_process_keeps_its_logging_its_hooks_and_its_imports(state: Path) -> None:
    result = in_a_new_process(
        """
from cinder.volume import driver
driver.LOG.warning("heard %s", "well", resource={"type": "x", "id": "1"})
print(json.dumps({
    "before": imported,
    "same": before == (list(root.handlers), root.level, sys.excepthook),
    "threads": [t.name for t in threading.enumerate() if not t.daemon],
}))
""",
        state,
    )
    assert result == {"before": [], "same": True, "threads": ["MainThread"]}


def test_drivers_log_through_the_standard_library(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    from cinder.volume import driver

    driver.LOG.warning("heard %s", "well")
    assert [one.getMessage() for one in caplog.records] == ["heard well"]


def test_nothing_big_and_no_service_of_cinder_is_loaded(state: Path) -> None:
    loaded = in_a_new_process(
        """
from cinder.volume.drivers import lvm
heavy = ("oslo_messaging", "taskflow", "networkx", "novaclient", "glanceclient", "keystonemiddleware", "oslo_vmware",
         "sqlalchemy.orm", "oslo_db.sqlalchemy.models", "requests", "oslo_policy", "webob.exc", "castellan.key_manager.barbican_key_manager")
print(json.dumps([name for name in heavy if name in sys.modules]))
""",
        state,
    )
    assert loaded == []


def test_starting_twice_is_starting_once(runtime: Runtime) -> None:
    before = list(_process.sections)
    runtime.start()
    assert list(_process.sections) == before


def test_a_start_that_had_no_room_can_be_repeated(state: Path) -> None:
    code = """
import resource
from oslo_config import cfg
second, limits = Runtime(Path(sys.argv[1]) / "second"), resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # writing a file fails, as on a full disk
try:
    second.start()
except OSError as error:
    failed = str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
second.start()
print(json.dumps([failed, len(cfg.CONF.default_config_files)]))
"""
    assert in_a_new_process(code, state) == ["[Errno 27] File too large", 2]


def test_borrowed_modules_make_room_for_the_real_ones(runtime: Runtime) -> None:
    import webob.exc  # type: ignore[import-untyped]  # it has no types
    from keystoneauth1 import plugin
    from oslo_middleware import cors

    assert issubclass(webob.exc.HTTPNotFound, webob.exc.WSGIHTTPException)
    assert hasattr(plugin.BaseAuthPlugin, "get_auth_ref") or hasattr(plugin.BaseAuthPlugin, "get_headers")
    assert cors.__file__


def test_lazy_modules_become_the_real_ones_when_they_are_used(runtime: Runtime) -> None:
    from cinder.volume import volume_utils

    assert volume_utils.connector.InitiatorConnector.__module__ == "os_brick.initiator.connector"


def test_what_belongs_to_cinders_services_says_so(runtime: Runtime) -> None:
    with pytest.raises(AttributeError, match="belongs to Cinder services"):
        sys.modules["cinder.rpc"].get_server()


def test_renamed_drivers_are_those_of_cinder() -> None:
    assert ast.literal_eval(assigned("MAPPING")) == dict(standins.RENAMED_DRIVERS)


def test_the_managers_options_are_defined_as_cinder_defines_them(runtime: Runtime) -> None:
    """oslo.config refuses a second definition of an option that differs in anything."""
    from oslo_config import cfg

    theirs = eval(compile(ast.Expression(assigned("volume_backend_opts")), "manager", "eval"), {"cfg": cfg})
    ours = sys.modules["cinder.volume.manager"].volume_backend_opts
    assert [vars(one) for one in ours] == [vars(one) for one in theirs] or list(ours) == list(theirs)


def test_commands_start_without_forking_this_process(runtime: Runtime) -> None:
    from oslo_concurrency import processutils

    assert vars(processutils)["subprocess"] is not subprocess
    out, _ = processutils.execute("sh", "-c", "cat; echo $0", process_input="hello ", run_as_root=False)
    assert out == "hello sh\n"
    with pytest.raises(processutils.ProcessExecutionError, match="gone wrong"):
        processutils.execute("sh", "-c", "echo gone wrong >&2; exit 3")


def test_a_child_still_dies_of_a_broken_pipe(runtime: Runtime) -> None:
    """What the removed preexec_fn did: SIGPIPE has its default action in the child."""
    from oslo_concurrency import processutils

    out, _ = processutils.execute("grep", "SigIgn", "/proc/self/status")
    assert not int(out.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_a_preexec_of_the_callers_own_is_kept(runtime: Runtime, tmp_path: Path) -> None:
    from oslo_concurrency import processutils

    mark = tmp_path / "mark"
    processutils.execute("true", preexec_fn=mark.touch)
    assert mark.exists()


def test_privileged_functions_run_in_this_process(runtime: Runtime, tmp_path: Path) -> None:
    import cinder.privsep.path

    cinder.privsep.path.touch(str(tmp_path / "touched"))
    assert (tmp_path / "touched").exists()


def test_drivers_find_the_programs_that_come_with_cinder(state: Path) -> None:
    look = "import shutil; print(json.dumps(shutil.which('cinder-rtstool')))"
    assert in_a_new_process(look, state, PATH="/usr/bin:/bin") is not None


def test_two_stand_ins_never_stand_for_one_module() -> None:
    targets = [row.target for row in standins.TABLE]
    assert len(targets) == len(set(targets))
    assert all(row.reason for row in standins.TABLE)


def test_every_patch_names_its_reason_and_an_existing_test() -> None:
    assert all(patch.reason and (Path(__file__).parent / patch.test).exists() for patch in PATCHES)


def test_named_locks_of_cinder_work_and_lie_in_the_state_directory(state: Path) -> None:
    """In a process of its own: the locks of a process lie where its first Runtime wants them."""
    answered, files = in_a_new_process(
        """
from cinder import coordination

@coordination.synchronized("volume-{name}")
def locked(name):
    return name

print(json.dumps([locked("x"), [file.name for file in (runtime.state_dir / "cinder" / "locks").iterdir()]]))
""",
        state,
    )
    assert answered == "x"
    assert any("volume-x" in file for file in files)
