"""The migration guide speaks of calls that exist, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import csi_cinderlib.cinderlib as cinderlib

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
