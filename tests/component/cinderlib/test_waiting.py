"""Programs that use one SQLite file take turns."""

from __future__ import annotations

import logging
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Library, waiting
from csi_cinderlib.errors import StoreInUse
from csi_cinderlib.persistence import plugins

ROOT = Path(__file__).parents[3]
HOLDS = """
import sys
from csi_cinderlib.cinderlib import Library
library = Library(persistence_config={"storage": "db", "connection": sys.argv[1]})
print("open", flush=True)
sys.stdin.read()
library.close()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'volumes.db'}"


@pytest.fixture
def other(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the file until its standard input ends."""
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", HOLDS, url], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    try:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], 240)[0]
        assert child.stdout.readline() == "open\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_set_up_waits_until_the_other_process_has_closed_the_file(
    url: str, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[Library] = []

    def open_it() -> None:
        opened.append(Library(persistence_config={"storage": "db", "connection": url}))

    with caplog.at_level(logging.WARNING, logger=waiting.__name__):
        thread = threading.Thread(target=open_it)
        thread.start()
        deadline = time.monotonic() + 60
        while not caplog.messages:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert opened == []
    other.communicate(timeout=240)  # the end of its input
    thread.join(120)
    (library,) = opened
    library.close()
    (said,) = caplog.messages
    assert f"volumes.db is in use by another process (pid {other.pid}); waiting for at most 120 s" in said


def test_the_wait_for_another_process_has_an_end(url: str, other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(
        StoreInUse, match=rf"in use by another process \(pid {other.pid}\); stop that process"
    ) as caught:
        waiting.until_free(lambda: plugins.open_store("sql", {"url": url}, state_dir=tmp_path), seconds=0.1)
    assert caught.value.holder == other.pid


def test_a_second_set_up_of_this_process_is_refused_at_once(url: str) -> None:
    config = {"storage": "db", "connection": url}
    library = Library(persistence_config=config)
    try:
        started = time.monotonic()
        with pytest.raises(StoreInUse):
            Library(persistence_config=config)
        assert time.monotonic() - started < waiting.PATIENCE_SECONDS
    finally:
        library.close()
