"""Commands that read the whole store take the memory of a page, not of the store: the controller's pod has 512 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import exports
from tests.support.peak import peak

FEW, MANY = 1_500, 5_000
"""Volumes: several pages in either store."""

MOST = 10.0
"""MB that the larger store may take more. Read as a whole, its records took 28 MB (volumes) to 63 MB (import) more."""

PROGRAM = (sys.executable, "-m", "csi_cinderlib")


def peaks(directory: Path, volumes: int) -> dict[str, float]:
    """MB at the most of each command on a store of so many volumes."""
    directory.mkdir()
    exports.write(directory / "all", volumes)
    state = ("--state-dir", str(directory / "state"))
    return {
        "import": peak(*PROGRAM, "import", *state, str(directory / "all")),
        "import again": peak(*PROGRAM, "import", *state, str(directory / "all")),
        "volumes": peak(*PROGRAM, "volumes", *state),
        "volumes -o json": peak(*PROGRAM, "volumes", *state, "-o", "json"),
        "export": peak(*PROGRAM, "export", *state, str(directory / "again")),
    }


def test_a_store_of_many_volumes_takes_no_more_memory_than_one_of_few(tmp_path: Path) -> None:
    few, many = peaks(tmp_path / "few", FEW), peaks(tmp_path / "many", MANY)
    assert {name: many[name] - few[name] for name in few if many[name] - few[name] > MOST} == {}


def test_an_export_is_imported_from_a_pipe(tmp_path: Path) -> None:
    exports.write(tmp_path / "all", 20)
    command = (*PROGRAM, "import", "--state-dir", str(tmp_path / "state"), "-")
    done = subprocess.run(command, input=(tmp_path / "all").read_bytes(), capture_output=True, timeout=60, check=True)
    assert done.stderr == b"24 records, verified (20 volume, 4 attachment)\n"
