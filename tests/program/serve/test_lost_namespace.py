"""The recipe of docs/how-to/backup-and-restore.md for an installation whose namespace is lost, as it is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning.installation import KEY
from tests.program.serve.conftest import Calls, Start

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/backup-and-restore.md"


def recipe() -> str:
    """The program of the page."""
    (program,) = re.findall(r"<<'END'\n(.*?)^END$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(program)


def lose_namespace(state_dir: Path) -> str:
    store = open_store("sql", {}, state_dir=state_dir)
    record = store.get(KeyValue, KEY)
    store.remove(record)
    store.close()
    return record.value


def test_a_namespace_without_a_copy_is_written_anew_and_the_volumes_stay(start: Start, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    config = f"state_dir: {state_dir}\n"
    driver = start(config=config)
    driver.wait_until_ready()
    volume = Calls(driver).create("mysql-data")
    driver.stop()
    lost = lose_namespace(state_dir)

    refused = start(config=config)
    assert refused.wait(60) != 0
    assert "volumes but no key-value 'csi-cinderlib.installation'" in refused.log()
    assert "docs/how-to/backup-and-restore.md" in refused.log()

    done = subprocess.run(
        [sys.executable, "-", str(state_dir / "config.yaml")],
        input=recipe(), capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = open_store("sql", {}, state_dir=state_dir)
    assert store.get(KeyValue, KEY).value != lost
    store.close()

    driver = start(config=config)
    driver.wait_until_ready()
    calls = Calls(driver)
    assert set(calls.volumes()) == {volume}
    again = calls.create("mysql-data")
    assert set(calls.volumes()) == {volume, again}, "the page says that a repeated creation makes a new volume"
    calls.delete(volume)
    assert set(calls.volumes()) == {again}
