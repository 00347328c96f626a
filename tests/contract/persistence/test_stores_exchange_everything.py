"""Export and import between any two stores: each one to and from memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import RECORDS, attachment, snapshot, volume
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.transfer import export, import_


def test_everything_goes_into_the_store_and_out_again_unchanged(persistence_harness: Harness, tmp_path: Path) -> None:
    source = MemoryStore()
    for record in RECORDS:
        source.add(record)
    for number in range(120):
        source.add(volume(f"{number:04}", labels={"n": str(number)}))
        source.add(snapshot(f"5{number:04}", of=f"{number:04}"))
        source.add(attachment(f"a{number:04}", of=f"{number:04}"))
    exported = export(source, tmp_path / "1")
    store = persistence_harness.open()
    assert import_(store, tmp_path / "1") == exported
    assert export(store, tmp_path / "2") == exported
    persistence_harness.close(store)
    target = MemoryStore()
    assert import_(target, tmp_path / "2") == exported
    for record in RECORDS:
        assert replace(target.get(type(record), record.id), revision="") == record
