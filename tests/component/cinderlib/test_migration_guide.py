"""The migration guide speaks of calls that exist, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from tests.component.cinderlib.conftest import NOTHING

PAGE = Path(__file__).parents[3] / "docs/how-to/migrate-from-cinderlib.md"
OWNERS = {
    "volume": cinderlib.Volume,
    "snapshot": cinderlib.Snapshot,
    "backend": cinderlib.Backend,
    "connection": cinderlib.Connection,
    "persistence": cinderlib.persistence.Persistence,
}


def test_every_call_in_the_table_exists() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    calls = [re.sub(r"\(.*", "", call) for row in rows for call in re.findall(r"`([^`]+)`", row)]
    missing = []
    for call in calls:
        owner, dot, name = call.partition(".")
        known = hasattr(OWNERS.get(owner), name) if dot else hasattr(cinderlib, call) or hasattr(cinderlib.Volume, call)
        if not known and call not in ("import", "persistence_config", "volumes_filtered", "detach", "_ovo"):
            missing.append(call)
    assert missing == []
    assert len(calls) > 20


def test_the_snippets_bring_the_metadata_along(
    process_wide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    volume = process_wide.Backend("fake", volume_driver=NOTHING).create_volume(1, name="old")
    volume.create_snapshot("monday")
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if "# new program" in block:
            process_wide.close()
            process_wide.Backend("fake", volume_driver=NOTHING)
        exec(compile(block, str(PAGE), "exec"), names)
    again = process_wide.Volume.get_by_id(volume.id)
    assert (again.name, [snapshot.name for snapshot in again.snapshots]) == ("old", ["monday"])
