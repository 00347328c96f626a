"""Exports of any number of volumes, without a store that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from csi_cinderlib.model.ids import SHARED
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.contract.samples import ATTACHMENT, VOLUME
from csi_cinderlib.persistence.transfer import FORMAT
from csi_cinderlib.persistence.transfer import VERSION as EXPORT_VERSION


def write(path: Path, volumes: int) -> None:
    """An export of so many volumes, every fifth of them attached."""
    whole = hashlib.sha256()
    counts: dict[str, int] = {}
    with path.open("wb") as stream:

        def line(value: object) -> None:
            text = json.dumps(value, separators=(",", ":")).encode() + b"\n"
            whole.update(text)
            stream.write(text)

        line({"format": FORMAT, "v": EXPORT_VERSION})
        for record in _records(volumes):
            kind = codec.kind_name(type(record))
            counts[kind] = counts.get(kind, 0) + 1
            line(codec.encode(record))
        line({"records": counts, "sha256": whole.hexdigest()})


def _records(volumes: int) -> Iterator[Any]:
    ids = [SHARED.volume_id(f"pvc-{number}") for number in range(volumes)]
    for number, id in enumerate(ids):
        yield replace(VOLUME, id=id, name=f"pvc-{number}", group_id="")
    for id in ids[::5]:
        yield replace(ATTACHMENT, id=SHARED.attachment_id(id, "node"), volume_id=id)
