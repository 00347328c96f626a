"""Everything from one store to another by `export` and `import`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import RECORDS, Scrambler, attachment, snapshot, volume
from csi_cinderlib.persistence.transfer import export, import_


def moved(source: Harness, target: Harness, directory: Path, *, volumes: int = 40) -> int:
    """How many records were moved; asserts that the target holds the very same, secrets and odd text included.

    Each store seals with a key of its own, and the file in between with a third one.
    """
    keys = [Scrambler(name) for name in ("source", "file", "target")]
    giving = source.open(keys[0])
    for record in RECORDS:
        giving.add(record)
    for number in range(volumes):
        giving.add(volume(f"{number:04}", labels={"n": str(number)}))
        giving.add(snapshot(f"5{number:04}", of=f"{number:04}"))
        giving.add(attachment(f"a{number:04}", of=f"{number:04}"))
    exported = export(giving, directory / "out", sealer=keys[1])
    source.close(giving)
    taking = target.open(keys[2])
    assert import_(taking, directory / "out", sealer=keys[1]) == exported
    assert export(taking, directory / "back", sealer=keys[1]) == exported
    assert _records(directory / "back") == _records(directory / "out")
    target.close(taking)
    again = target.open(keys[2])
    for record in RECORDS:
        assert replace(again.get(type(record), record.id), revision="") == record
    target.close(again)
    return exported.total


def _records(file: Path) -> list[object]:
    """In their order, which is the same everywhere; that of the keys in an object is the store's own, and so the checksum is."""
    return [json.loads(line) for line in file.read_bytes().splitlines()[:-1]]
