"""Databases of OpenStack Cinder: made by its own migrations, or recorded from releases whose migrations it no longer has."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from csi_cinderlib.cli import main
from csi_cinderlib.model.records import Record, Snapshot, Volume
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.sql import read

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded"
ADOPTABLE = {1: "plain", 2: "typed", 3: "from image", 4: "copy", 5: "fenced"}
"""The volumes of `program.txt` that can be adopted."""

STOPPED = "UPDATE services SET created_at = '2025-01-01 00:00:00', updated_at = '2025-01-01 00:00:00'"
"""The cinder-volume services have not reported for long."""


def id_of(number: int) -> str:
    """The id of an object of `program.txt`."""
    return f"{number:08d}-0000-4000-8000-000000000000"


def make(url: str, revision: str = "") -> None:
    """Create and fill a database with the installed Cinder, in a process without this program's stand-ins."""
    program = str(FOLDER / "program.txt")
    argv = [sys.executable, "-W", "ignore", program, url, *filter(None, [revision])]
    subprocess.run(argv, check=True, capture_output=True, timeout=300)


def restore(file: Path, recording: str) -> Path:
    """A file from a recording."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((RECORDED / f"{recording}.sql").read_text())
    change(file, STOPPED)
    return file


def change(file: Path, *statements: str) -> None:
    """Change a source behind the back of the program."""
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def copied(file: Path, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return Path(shutil.copy(file, directory / "cinder.db"))


class Run:
    """Runs `csi-cinderlib adopt cinder` from one source into one SQLite file."""

    def __init__(self, source: Path | str, directory: Path) -> None:
        self.url = f"sqlite:///{source}" if isinstance(source, Path) else source
        self.target = directory / "new.db"
        self.plan_file = directory / "plan.yaml"

    def __call__(self, *arguments: str) -> int:
        into = ["--into", f"sqlite:///{self.target}"]
        return main(["adopt", "cinder", "--url", self.url, *into, *arguments])

    def plan(self, *arguments: str) -> int:
        return self("--plan", str(self.plan_file), *arguments)

    def apply(self, *arguments: str) -> int:
        return self("--apply", str(self.plan_file), *arguments)

    def roll_back(self, *arguments: str) -> int:
        return self("--rollback", str(self.plan_file), *arguments)

    def plan_and_apply(self, *numbers: int) -> None:
        assert self.plan(*map(id_of, numbers or ADOPTABLE)) == 0
        assert self.apply() == 0

    def records(self) -> Iterator[Record]:
        """The adopted volumes and snapshots."""
        with read({"url": f"sqlite:///{self.target}"}, state_dir=self.target.parent, sealer=None) as store:
            yield from walk_all(store, Volume)
            yield from walk_all(store, Snapshot)

    def volumes(self) -> dict[str, Volume]:
        """The adopted volumes by name."""
        return {record.name: record for record in self.records() if isinstance(record, Volume)}
