"""No core of a process that holds passwords, and what it still may do with its own files in /proc."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CANARY = "canary-6b1f0c"
PROGRAM = """
import os, resource, signal, sys
from csi_cinderlib.host import dumps
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
password = "".join(("canary", "-", "6b1f0c"))
{forbid}
os.kill(os.getpid(), signal.SIGABRT)
"""
FORBID = "dumps.forbid()"
NOT_DUMPABLE = "resource.setrlimit = lambda *_: None; dumps.forbid()"
"""What is left of it where a program handles the host's cores, for which the limit does not count."""


def cores_are_files() -> bool:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    return not pattern.startswith(("|", "/")) and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


@pytest.mark.root
@pytest.mark.skipif(not cores_are_files(), reason="this host writes no cores to the working directory")
@pytest.mark.parametrize(
    ("forbid", "forbidden"), [("", False), (FORBID, True), (NOT_DUMPABLE, True), (f"{FORBID}; os.fork()", True)]
)
def test_a_crash_leaves_no_memory_behind(tmp_path: Path, forbid: str, forbidden: bool) -> None:
    ended = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(forbid=forbid)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.DEVNULL,
    )
    _, status = os.waitpid(ended.pid, 0)
    ended.returncode = os.waitstatus_to_exitcode(status)
    assert os.WTERMSIG(status) == signal.SIGABRT
    holders = [file for file in tmp_path.iterdir() if CANARY.encode() in file.read_bytes()]
    assert (not os.WCOREDUMP(status), holders == []) == (forbidden, forbidden)


USES = {
    "the mount table": "assert mounttable.table()",
    "its capabilities": "kernel.has_capability(21)",
    "open files": "assert list(os.scandir('/proc/self/fd'))",
    "which mount a file is on": "assert mounts._mount_id('/') > 0",
    "a file by its number": "assert open('/proc/self/fd/%d' % os.open('/etc/passwd', os.O_RDONLY)).read(4)",
    "its namespaces": "assert os.readlink('/proc/self/ns/pid')",
    "its score": "warm._be_first_without_memory(); assert int(open('/proc/self/oom_score_adj').read()) >= 300",
    "another process": "assert open(f'/proc/{os.getppid()}/stat').read()",
}


@pytest.mark.root
@pytest.mark.parametrize("use", USES)
def test_an_ordinary_user_still_has_what_is_needed_of_proc(use: str) -> None:
    program = f"""
import os, sys
from csi_cinderlib.cinder import warm
from csi_cinderlib.host import dumps, kernel, mounts, mounttable
os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
dumps.forbid()
{USES[use]}
try:
    open('/proc/self/environ').read()
except PermissionError:
    sys.exit(0)
sys.exit('it is dumpable')
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
