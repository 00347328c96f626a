"""Builds tools. Downloads and compilations run in parallel, each in a folder that gets its name only when it is complete."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools import catalogue, go, python
from tools.catalogue import DebianFiles, GoFiles, GoProgram, PythonSource, Tool
from tools.lookup import reason_file
from tools.outcome import BuildFailed, Unobtainable

_WORK = ".work-"
_CANNOT_RUN_HERE = 69
_NO_NETWORK = 75
"""Exit codes of tools/debian/NAME, as in sysexits.h (EX_UNAVAILABLE, EX_TEMPFAIL)."""


def make(tools: Sequence[Tool], *, required: bool) -> bool:
    """Build the tools that are not in the cache yet, and print a line for each.

    Args:
        required: a tool that this machine cannot have is a failure too.

    Returns:
        Whether nothing failed.
    """
    folder = catalogue.cache() / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        for left in folder.glob(f"{_WORK}*"):
            # By a run that was killed. Its compiler may still write there for a moment, until it misses its folder.
            shutil.rmtree(left, ignore_errors=True)
        wanted = [tool for tool in tools if not tool.folder.exists()]
        if wanted:
            _say(f"building {len(wanted)} of {len(tools)} in {folder}: {', '.join(tool.name for tool in wanted)}")
        return _make_all(wanted, required=required)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another `make tools`")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_all(tools: Sequence[Tool], *, required: bool) -> bool:
    """Each pool has one thread, because `go` itself downloads several modules at once and uses all processors."""
    debian, modules, compilations = (ThreadPoolExecutor(1) for _ in range(3))
    try:
        made: list[Future[bool]] = []
        for tool in tools:
            task = _Task(tool, required=required)
            if isinstance(tool, DebianFiles):
                downloaded = debian.submit(task.download)
                made.append(debian.submit(task.finish, downloaded))
            else:
                downloaded = modules.submit(task.download)
                made.append(compilations.submit(task.finish, downloaded))
        outcomes = [future.result() for future in made]
        return all(outcomes)
    finally:
        for pool in (debian, modules, compilations):
            pool.shutdown(cancel_futures=True)


class _Task:
    """The build of one tool."""

    def __init__(self, tool: Tool, *, required: bool) -> None:
        self.tool = tool
        self._required = required
        # Both names are computed now, because go.mod may change during the build, which takes minutes.
        self._folder = tool.folder
        self._reason_file = reason_file(tool)
        self._work = Path(tempfile.mkdtemp(prefix=f"{_WORK}{tool.name}-", dir=self._folder.parent))
        self._result = self._work / "result"
        self._seconds: list[str] = []

    def download(self) -> None:
        """Raises Unobtainable, BuildFailed."""
        self._result.mkdir()
        self._timed("downloaded", partial(download, self.tool, self._result, self._work))

    def finish(self, downloaded: Future[None]) -> bool:
        """Compile the downloaded source, move the result into place and print the outcome. Returns whether it is acceptable."""
        try:
            downloaded.result()
            if isinstance(self.tool, GoProgram):
                self._timed("built", partial(compile_program, self.tool, self._result, self._work))
            self._result.rename(self._folder)
        except Unobtainable as reason:
            return self._report_missing(reason)
        except (BuildFailed, OSError) as failure:
            self._reason_file.unlink(missing_ok=True)
            _say(f"{self._title}: FAILED: {failure}")
            return False
        finally:
            shutil.rmtree(self._work)
        self._reason_file.unlink(missing_ok=True)
        _say(f"{self._title}: {', '.join(self._seconds)}")
        return True

    def _report_missing(self, reason: Unobtainable) -> bool:
        self._reason_file.write_text(str(reason))
        _say(f"{self._title}: {'FAILED' if self._required else 'its tests will be skipped'}: {reason}")
        return not self._required

    def _timed(self, what: str, work: Callable[[], None]) -> None:
        started = time.monotonic()
        work()
        self._seconds.append(f"{what} in {time.monotonic() - started:.0f} s")

    @property
    def _title(self) -> str:
        return f"{self.tool.name} {self.tool.version}".strip()


def download(tool: Tool, result: Path, work: Path) -> None:
    """Download the sources of the tool; files that are used unchanged go into `result`. Raises Unobtainable, BuildFailed."""
    if isinstance(tool, GoProgram):
        go.download(catalogue.MODULES / tool.module, scratch=work)
    elif isinstance(tool, GoFiles):
        _download_files(tool, result, work)
    elif isinstance(tool, PythonSource):
        python.unpack_source(tool.requirements, result, work)
    else:
        _run_script(tool, result)


def _download_files(tool: GoFiles, result: Path, work: Path) -> None:
    """Work in a copy of go.mod, because `go mod download` of a single module adds missing entries to go.sum."""
    locked = catalogue.MODULES / tool.module
    copy = shutil.copytree(locked, work / "module")
    module = json.loads(go.download(copy, tool.path, scratch=work))
    if f"{tool.path} {tool.version} {module['Sum']}\n" not in (locked / "go.sum").read_text():
        raise BuildFailed(f"{tool.path} {tool.version} is not in go.sum")
    for path in Path(module["Dir"]).glob(tool.pattern):
        shutil.copyfile(path, result / path.name)
    if not any(result.iterdir()):
        raise BuildFailed(f"{tool.path} has no {tool.pattern}")


def _run_script(tool: DebianFiles, result: Path) -> None:
    done = subprocess.run([tool.script, result, tool.folder], capture_output=True, text=True, check=False)
    said = done.stderr.strip()
    if done.returncode in (_CANNOT_RUN_HERE, _NO_NETWORK):
        raise Unobtainable(said)
    if done.returncode:
        raise BuildFailed(said or f"exit code {done.returncode}")


def compile_program(tool: GoProgram, result: Path, work: Path) -> None:
    """Raises BuildFailed."""
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", tool.linker_flags, "-o", str(result / tool.name)]
    go.run(["build", *flags, tool.package], cwd=catalogue.MODULES / tool.module, scratch=work)


def _say(text: str) -> None:
    print(f"tools: {text}", flush=True)
