"""The library under the name `cinderlib`. Each test runs a process of its own, because imports belong to the whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.component.cinderlib.conftest import NOTHING

ROOT = Path(__file__).parents[3]


def run(*arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=240, env=environment
    )
    assert done.returncode == expected, done.stderr
    return done


def test_imports_of_cinderlib_return_the_modules_of_this_library() -> None:
    run(
        "-c",
        """
import csi_cinderlib.cinderlib as ours
ours.install_as_cinderlib()
ours.install_as_cinderlib()
import cinderlib, importlib, sys
from cinderlib import objects
from cinderlib.serialization import load
import cinderlib.presence  # not imported by the package itself
import csi_cinderlib.cinderlib.volume as volume
assert cinderlib is ours and objects is ours.objects and load is ours.load
assert cinderlib.presence is sys.modules["csi_cinderlib.cinderlib.presence"]
assert importlib.import_module("cinderlib.volume") is volume and volume.__spec__.name == "csi_cinderlib.cinderlib.volume"
assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1
try:
    import cinderlib.nothing_like_it
except ModuleNotFoundError as error:
    assert error.name == "cinderlib.nothing_like_it", error.name
else:
    raise AssertionError
""",
    )


def test_the_version_of_cinderlib_is_that_of_the_api() -> None:
    run(
        "-c",
        """
from importlib import metadata
import csi_cinderlib.cinderlib as ours
before = sorted(found.metadata["Name"] for found in metadata.distributions())
ours.install_as_cinderlib()
assert metadata.version("cinderlib") == "5.2.0"
assert metadata.metadata("cinderlib")["Name"] == "cinderlib"
assert not metadata.distribution("cinderlib").entry_points
assert metadata.version("csi-cinderlib") != "5.2.0"
assert sorted(found.metadata["Name"] for found in metadata.distributions()) == before
""",
    )


def test_it_is_refused_after_the_import_of_another_cinderlib(tmp_path: Path) -> None:
    (tmp_path / "cinderlib.py").touch()
    done = run(
        "-c",
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import cinderlib, csi_cinderlib.cinderlib as ours
try:
    ours.install_as_cinderlib()
except RuntimeError as error:
    print(error)
""",
    )
    assert done.stdout == (
        f"the package cinderlib is already imported from {tmp_path / 'cinderlib.py'}; "
        "call install_as_cinderlib() before `import cinderlib`\n"
    )


PROGRAM = f"""
import sys
import beside
import cinderlib as cl
from cinderlib import objects
if __name__ == "__main__":
    cl.setup()
    volume = cl.Backend("x", volume_driver={NOTHING!r}).create_volume(1)
    assert isinstance(volume, objects.Volume)
    print(sys.argv[1:], volume.status)
    sys.exit(3)
"""


@pytest.mark.parametrize("how", ["a file", "a module"])
def test_a_program_runs_unmodified_with_its_arguments(tmp_path: Path, how: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "beside.py").touch()
    (tmp_path / "start.py").write_text(
        f"import os, sys\nos.chdir({str(tmp_path)!r})\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    program = [str(tmp_path / "program.py")] if how == "a file" else ["-m", "program"]
    start = [str(tmp_path / "start.py")]
    done = run(*start, "-m", "csi_cinderlib.cinderlib", *program, "--size", "1", expected=3)
    assert done.stdout == "['--size', '1'] available\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "usage: "),
        (["--help"], 0, "usage: "),
        (["/nothing/here.py"], 2, "cannot run /nothing/here.py: no such file"),
    ],
)
def test_a_missing_program_is_reported(arguments: list[str], code: int, words: str) -> None:
    done = run("-m", "csi_cinderlib.cinderlib", *arguments, expected=code)
    assert words in (done.stderr if code else done.stdout)
