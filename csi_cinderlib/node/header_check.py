"""The check that a LUKS2 header is like those that this driver writes. Pure.

The array might have written another one: with a null cipher, which stores data in plain and accepts any key (CVE-2025-59054), or with a
derivation that takes hours or all memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import luks_header
from csi_cinderlib.model.encryption import HEADER, SECTOR
from csi_cinderlib.pages import HEADER_PAGE

_ANY = object()
"""A value that is different in each header."""
_MOST_SLOTS = 8
"""A change of the key needs two. An interrupted one may leave another."""
_BINARY = 4096
_CONFIG = {"json_size": str(luks_header.METADATA), "keyslots_size": str(HEADER - 2 * (luks_header.METADATA + _BINARY))}
_SEGMENT = {
    "type": "crypt",
    "offset": str(HEADER),
    "size": "dynamic",
    "iv_tweak": "0",
    "encryption": luks_header.CIPHER,
    "sector_size": SECTOR,
}
_SLOT = {
    "type": "luks2",
    "key_size": 64,
    "af": {"type": "luks1", "stripes": 4000, "hash": luks_header.HASH},
    "area": {
        "type": "raw",
        "offset": _ANY,
        "size": str(luks_header.SLOT),
        "encryption": luks_header.CIPHER,
        "key_size": 64,
    },
    "kdf": {"type": "argon2id", "time": luks_header.PASSES, "memory": luks_header.MEMORY_KIB, "cpus": 1, "salt": _ANY},
}
_DIGEST = {
    "type": "pbkdf2",
    "segments": ["0"],
    "hash": luks_header.HASH,
    "iterations": luks_header.DIGEST_ITERATIONS,
    "salt": _ANY,
    "digest": _ANY,
}


def check_header(volume_id: str, metadata: str) -> None:
    """Check that the header is like those that this driver writes, before its key is derived. Pure.

    Raises:
        UnsafeToFormat: naming the first problem.
    """
    try:
        why = next(_header_problems(json.loads(metadata)), "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"its metadata cannot be read ({type(error).__name__})"
    if why:
        raise UnsafeToFormat(f"volume {volume_id}: its encryption header is refused: {why}. See {HEADER_PAGE}")


def check_owner(volume_id: str, found: str, wanted: str) -> None:
    """Check that the header is this volume's. Pure.

    Args:
        found: the UUID of the header.
        wanted: that of the volume, from its controller; "" for any.

    Raises:
        UnsafeToFormat: it is that of another volume.
    """
    if wanted and found.lower() != wanted:
        raise UnsafeToFormat(
            f"volume {volume_id}: its device has the encryption header of another volume: its UUID is {found}, not {wanted}. Nothing was "
            f"changed. See {HEADER_PAGE}"
        )


def _header_problems(metadata: Mapping[str, Any]) -> Iterator[str]:
    slots = metadata["keyslots"]
    if not 1 <= len(slots) <= _MOST_SLOTS:
        yield f"it has {len(slots)} key slots"
    digests = {
        number: {**digest, "keyslots": sorted(digest["keyslots"])} for number, digest in metadata["digests"].items()
    }
    wanted = {
        "keyslots": dict.fromkeys(slots, _SLOT),
        "tokens": {},
        "segments": {"0": _SEGMENT},
        "digests": {"0": {**_DIGEST, "keyslots": sorted(slots)}},
        "config": _CONFIG,
    }
    yield from _differences("", {**metadata, "digests": digests}, wanted)
    for number, slot in sorted(slots.items()):
        if not luks_header.SPAN <= int(slot["area"]["offset"]) <= HEADER - luks_header.SLOT:
            yield f"keyslots/{number}/area/offset is {slot['area']['offset']!r}"


def _differences(path: str, found: Any, wanted: Any) -> Iterator[str]:
    if wanted is _ANY:
        return
    if not isinstance(wanted, dict):
        if found != wanted or type(found) is not type(wanted):
            yield f"{path} is {found!r}, not {wanted!r}"
        return
    for name in sorted({*found, *wanted}):
        inner = f"{path}/{name}" if path else name
        if name not in wanted:
            yield f"{inner} is unknown"
        elif name not in found:
            yield f"{inner} is missing"
        else:
            yield from _differences(inner, found[name], wanted[name])
