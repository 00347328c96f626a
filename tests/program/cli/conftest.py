"""The program as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from csi_cinderlib.node.own_keys import OwnKeys
from tests.support import exports

UNWANTED = ("CSI_", "CINDERLIB_CONFIG", "CINDERLIB_LOG", "PYTHONUNBUFFERED", "PYTHONIOENCODING")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the commands run: with a configuration, an export, and a state directory `node` with a key."""
    (tmp_path / "config.yaml").write_text(
        "backends:\n  local:\n    driver: csi_cinderlib.drivers.loopfile.LoopFileDriver\n"
        f"    options: {{loopfile_directories: [one:{tmp_path / 'volumes'}]}}\n"
    )
    exports.write(tmp_path / "backup", 6)
    (tmp_path / "node").mkdir(mode=0o700)
    OwnKeys(tmp_path / "node", "n2").add()
    return tmp_path


@pytest.fixture
def environment(directory: Path) -> Mapping[str, str]:
    """Without settings of the machine, and with this program first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    return {
        **kept,
        "PATH": path,
        "CINDERLIB_STATE_DIR": str(directory / "state"),
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture
def run(directory: Path, environment: Mapping[str, str]) -> Run:
    """Runs a line of bash, by default with all output in one."""

    def runner(line: str, **how: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=how.get("stdout", subprocess.PIPE),
            stderr=how.get("stderr", subprocess.STDOUT),
            text=True,
            timeout=200,
            check=False,
        )

    return runner
