"""The snippets of cinderlib's own documentation run with the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.host import loopctl
from tests.component.cinderlib.documentation import pages
from tests.support import loops
from tools import lookup

ROOT = Path(__file__).parents[4]
NOT_CODE = "shows a signature or an output"
ARRAY = "needs an array"
NOT_RUN: dict[str, dict[int, str]] = {
    "index.rst": {},
    "usage.rst": {},
    "topics/backends.rst": {0: NOT_CODE, 2: ARRAY, 3: ARRAY, 6: NOT_CODE, 7: NOT_CODE, 8: NOT_CODE},
    "topics/connections.rst": {
        9: "the snippets before have attached the file driver's file with os-brick, which is not a block device",
        10: "as the snippet before",
    },
    "topics/initialization.rst": {0: NOT_CODE},
    "topics/metadata.rst": {4: NOT_CODE, 5: "its plugin has no methods; the tests of plugins have complete ones"},
    "topics/serialization.rst": {},
    "topics/snapshots.rst": {},
    "topics/tracking.rst": {},
    "topics/volumes.rst": {},
}
"""By page, the snippets that are not run, and why."""


@pytest.fixture(scope="module")
def documentation() -> Path:
    try:
        return lookup.folder("cinderlib") / "doc" / "source"
    except lookup.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Path]:
    """A directory for the volumes. The snippets replace the device in a connection's record, so a loop device may remain."""
    folder = tmp_path / "volumes"
    folder.mkdir()
    yield folder
    for number in loops.below(str(folder)):
        subprocess.run(["losetup", "--detach", loopctl.node(number)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("page", NOT_RUN)
def test_the_snippets_of_a_page_run(page: str, documentation: Path, volumes: Path, tmp_path: Path) -> None:
    arguments = [str(documentation), page, str(volumes), json.dumps(list(NOT_RUN[page]))]
    done = subprocess.run(
        [sys.executable, str(Path(pages.__file__).with_name("run_page.py")), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CINDERLIB_LIBRARY_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert {number: outcome for number, outcome in enumerate(outcomes) if outcome not in ("", "not run")} == {}
    assert {number for number, outcome in enumerate(outcomes) if outcome == "not run"} == set(NOT_RUN[page])


def test_every_page_with_snippets_is_listed(documentation: Path, tmp_path: Path) -> None:
    found = [documentation / "index.rst", documentation / "usage.rst", *(documentation / "topics").glob("*.rst")]
    names = {str(page.relative_to(documentation)) for page in found}
    assert {name for name in names if pages.snippets(documentation, name, tmp_path)} == set(NOT_RUN)
