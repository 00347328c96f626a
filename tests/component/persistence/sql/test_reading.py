"""A store that is read changes nothing on the disk: beside its process, after a crash, on a file system without writing."""

from __future__ import annotations

import ast
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql import read
from csi_cinderlib.persistence.sql.schema import VERSION_TABLE

WRITER = """
import sys
from pathlib import Path
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.plugins import open_store
store = open_store("sql", state_dir=Path(sys.argv[1]))
print("open", flush=True)
for line in sys.stdin:
    store.add(volume(line.strip()))
    print("added", flush=True)
"""


class Writer:
    """Another process that has the store open."""

    def __init__(self, state_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._expect("open")

    def add(self, id: str) -> None:
        assert self.process.stdin is not None
        print(id, file=self.process.stdin, flush=True)
        self._expect("added")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line


@contextmanager
def writing(state_dir: Path) -> Iterator[Writer]:
    writer = Writer(state_dir)
    try:
        yield writer
    finally:
        writer.kill()
        assert writer.process.stdin is not None and writer.process.stdout is not None
        writer.process.stdin.close()
        writer.process.stdout.close()


def ids(state_dir: Path) -> list[str]:
    with read({}, state_dir=state_dir, sealer=None) as store:
        return [record.id for record in walk(store, Volume)]


def state(directory: Path) -> dict[str, tuple[str, int]]:
    """Of every file: its contents and when it was written."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
        if "reserve" not in str(path)
    }


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    with closing(open_store("sql", state_dir=tmp_path)) as store:
        store.add(volume("0001"))
    return tmp_path


@pytest.mark.parametrize("directory", ["missing", "empty"])
def test_where_there_is_no_store_the_reader_says_so_and_makes_none(tmp_path: Path, directory: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError) as refused:
        ids(tmp_path / directory)
    assert str(refused.value) == f"state_dir: no metadata store at {tmp_path / directory} (looked for metadata.db)"
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_store_whose_process_has_ended_is_read_as_it_is(stopped: Path) -> None:
    before = state(stopped)
    assert (ids(stopped), state(stopped)) == (["0001"], before)


def test_a_store_is_read_beside_its_process_without_a_change(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        assert ids(tmp_path) == []
        writer.add("0001")
        before = state(tmp_path)
        assert (ids(tmp_path), state(tmp_path)) == (["0001"], before)
        writer.add("0002")
        assert ids(tmp_path) == ["0001", "0002"]


def test_all_that_is_read_is_of_one_moment(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add("0001")
        with read({}, state_dir=tmp_path, sealer=None) as store:
            writer.add("0002")
            assert [record.id for record in walk(store, Volume)] == ["0001"]
        assert ids(tmp_path) == ["0001", "0002"]


def test_a_process_that_hangs_is_no_obstacle(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add("0001")
        writer.process.send_signal(signal.SIGSTOP)
        assert ids(tmp_path) == ["0001"]


def test_the_log_of_a_killed_process_is_read_and_stays(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add("0001")
        writer.kill()
        before = state(tmp_path)
        assert "metadata.db-wal" in before
        assert (ids(tmp_path), state(tmp_path)) == (["0001"], before)
    with closing(open_store("sql", state_dir=tmp_path)) as store:
        assert [record.id for record in walk(store, Volume)] == ["0001"]


def test_a_log_without_its_index_is_read_from_a_copy(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:
        writer.add("0001")
        writer.kill()
    (tmp_path / "metadata.db-shm").unlink()
    before = state(tmp_path)
    assert (ids(tmp_path), state(tmp_path)) == (["0001"], before)


def test_a_store_that_changes_while_it_is_read_without_its_process_is_reported(stopped: Path) -> None:
    looked_at = read({}, state_dir=stopped, sealer=None)
    looked_at.__enter__()
    with closing(open_store("sql", state_dir=stopped)) as changed:
        changed.add(volume("0002"))
    with pytest.raises(StoreUnavailable, match="was changed while it was read"):
        looked_at.__exit__(None, None, None)


def test_a_driver_may_start_while_its_store_is_read(stopped: Path) -> None:
    with read({}, state_dir=stopped, sealer=None) as store, writing(stopped) as writer:
        writer.add("0002")
        assert [record.id for record in walk(store, Volume)] == ["0001"]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every user may enter."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_directory_without_the_right_to_write_is_read(reachable: Path, crashed: bool) -> None:
    with writing(reachable) as writer:
        writer.add("0001")
        writer.kill()
    if not crashed:
        open_store("sql", state_dir=reachable).close()
    before = state(reachable)
    assert ids(reachable) == ["0001"]  # imports all that it needs: nobody may be unable to read this Python
    for path in reachable.glob("metadata.db*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert as_nobody(lambda: ids(reachable)) == ["0001"]
    assert state(reachable) == before


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_store_that_may_not_be_read_is_named(reachable: Path, mode: int) -> None:
    open_store("sql", state_dir=reachable).close()
    assert ids(reachable) == []
    reachable.chmod(mode)
    problem = as_nobody(lambda: ids(reachable))
    assert (
        problem
        == f"store.options.url: cannot read {reachable}/metadata.db: permission denied; run the command as the owner of the file"
    )


def as_nobody(work: object) -> object:
    """What `work` answers, or its error, in a child process without rights."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answer = repr(work())  # type: ignore[operator]  # a callable
        except ConfigurationError as error:
            answer = repr(str(error))
        except BaseException as error:
            answer = repr(f"{type(error).__name__}: {error}")
        os.write(sender, answer.encode())
        os._exit(0)
    os.close(sender)
    os.waitpid(child, 0)
    with os.fdopen(receiver) as stream:
        return ast.literal_eval(stream.read())


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_text("not a database" * 100)
    with pytest.raises(ConfigurationError, match="file is not a database"):
        ids(tmp_path)


def test_an_empty_file_holds_no_metadata(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").touch()
    with pytest.raises(ConfigurationError, match="contains no csi-cinderlib metadata"):
        ids(tmp_path)


def test_a_newer_schema_is_refused(stopped: Path) -> None:
    with closing(sqlite3.connect(stopped / "metadata.db")) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        database.commit()
    with pytest.raises(ConfigurationError, match="upgrade csi-cinderlib"):
        ids(stopped)
