"""`pip install csi-cinderlib` in a fresh environment of each supported Python: the tutorial runs as printed, and types are found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installation import environments
from tests.installation.environments import ROOT, Environment

Fresh = Callable[[str, str], Environment]
VERSIONS = environments.versions()
PAGE = ROOT / "docs" / "tutorial" / "library.md"
RUNNER = """
import contextlib, io, json, sys
names, said = {}, ""
for kind, block in json.load(open(sys.argv[1])):
    if kind == "text":
        assert said == block, (said, block)
        said = ""
        continue
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(block, "tutorial", "exec"), names)
    said += output.getvalue()
assert not said
print("done")
"""
BARE = """
import csi_cinderlib.cinderlib as cinderlib
for call in (
    lambda: cinderlib.Backend("files", volume_driver="csi_cinderlib.drivers.loopfile.LoopFileDriver"),
    lambda: cinderlib.list_supported_drivers(),
    lambda: cinderlib.exception.VolumeNotFound,
    lambda: cinderlib.Volume.get_by_id("x"),
    lambda: cinderlib.Library(persistence_config={"storage": "db", "connection": "sqlite:///volumes.db"}),
):
    try:
        call()
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


def snippets() -> list[tuple[str, str]]:
    """The code and the outputs of the tutorial, in order."""
    return re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environments.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def fresh(wheel: Path, tmp_path: Path) -> Fresh:
    """Makes an environment of a version of Python, with Cinder (`controller`) or without (`base`)."""

    def make(version: str, requirements: str) -> Environment:
        python = environments.interpreter(version)
        if python is None:
            pytest.skip(f"no Python {version} on this machine")
        locked = environments.packages(python, version, requirements)
        if not locked.exists():
            pytest.skip(f"the packages for Python {version} are not in {locked}: run `make tools` with a network")
        return environments.make(tmp_path / "venv", python, locked, wheel)

    return make


@pytest.mark.root
@pytest.mark.parametrize("version", VERSIONS)
def test_the_tutorial_runs_as_printed(version: str, fresh: Fresh, tmp_path: Path) -> None:
    installed = fresh(version, "controller")
    (tmp_path / "tutorial.json").write_text(json.dumps(snippets()))
    done = installed.run("-c", RUNNER, str(tmp_path / "tutorial.json"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_without_cinder_errors_name_the_command_that_installs_it(version: str, fresh: Fresh, tmp_path: Path) -> None:
    bare = fresh(version, "base")
    lines = bare.run("-c", BARE, cwd=tmp_path).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["ConfigurationError"] * 5
    assert [line for line in lines if not line.endswith(": pip install 'csi-cinderlib[library]'")] == []


def test_a_type_checker_finds_the_types_of_the_installed_package(fresh: Fresh, tmp_path: Path) -> None:
    environment = fresh(f"{sys.version_info.major}.{sys.version_info.minor}", "controller")
    program = "\n".join(block for kind, block in snippets() if kind == "python")
    (tmp_path / "tutorial.py").write_text(f"{program}\nvolume.sttaus\n")
    options = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--python-executable", str(environment.python)]
    argv = [sys.executable, "-m", "mypy", *options, "tutorial.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert '"Volume" has no attribute "sttaus"' in errors[0]
