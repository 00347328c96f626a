"""Checks of single fields, by the specification's limits. Each takes a value and the field's path, and returns the value.

All raise InvalidRequest with that path, or its subclass OutOfRange for sizes; values of maps are never repeated in a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from csi_cinderlib.csi.capabilities import CONTROL
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import InvalidRequest, OutOfRange
from csi_cinderlib.model.records import Source, SourceKind
from csi_cinderlib.model.requests import Topology
from csi_cinderlib.model.size import MAX_SIZE, Bytes, SizeRange

MAX_TEXT = 128
MAX_MAP = 4096
MAX_PATH = 4095
"""The kernel's PATH_MAX less the closing NUL; the specification overrides its 128 bytes for paths."""
MAX_PART = 255
"""The kernel's NAME_MAX: of each name in a path."""

# Spec, CreateVolumeRequest.name: control characters other than usual white space are banned.
_BANNED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Spec, Topology: keys are [prefix/]name, each part at most 63 characters.
_SEGMENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
_TOPOLOGY_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,61}}[a-z0-9])?/)?{_SEGMENT}")
_TOPOLOGY_VALUE = re.compile(_SEGMENT)


def text(value: str, field: str, *, limit: int = MAX_TEXT) -> str:
    """Text that may be empty, within the limit in bytes of UTF-8, on one line."""
    if (size := len(value.encode())) > limit:
        raise InvalidRequest(field, f"is {size} bytes long, and {limit} are allowed")
    if CONTROL.search(value):
        raise InvalidRequest(field, "holds control characters")
    return value


def required(value: str, field: str, *, limit: int = MAX_TEXT) -> str:
    """The same, but not empty."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    return text(value, field, limit=limit)


def name(value: str, field: str = "name") -> str:
    """A name that the caller chose: any letters, also non-ASCII, also line breaks."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    if (size := len(value.encode())) > MAX_TEXT:
        raise InvalidRequest(field, f"is {size} bytes long, and {MAX_TEXT} are allowed")
    if banned := _BANNED.search(value):
        raise InvalidRequest(field, f"holds the character U+{ord(banned[0]):04X}, which the specification bans")
    return value


def ids(values: Iterable[str], field: str) -> tuple[str, ...]:
    """Ids, each once."""
    found: dict[str, None] = {}
    for index, value in enumerate(values):
        if required(value, f"{field}[{index}]") in found:
            raise InvalidRequest(f"{field}[{index}]", f"{value!r} is named twice")
        found[value] = None
    return tuple(found)


def mapping(values: Mapping[str, str], field: str) -> dict[str, str]:
    """A map within the limit of all its keys and values together."""
    if (size := sum(len(key.encode()) + len(value.encode()) for key, value in values.items())) > MAX_MAP:
        raise InvalidRequest(field, f"holds {size} bytes in all, and {MAX_MAP} are allowed")
    if "" in values:
        raise InvalidRequest(field, "holds an empty key")
    return dict(values)


def path(value: str, field: str) -> str:
    """An absolute path that stays where it points."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    if not value.startswith("/"):
        raise InvalidRequest(field, f"{value!r} is not absolute")
    return _plain_path(value, field)


def _plain_path(value: str, field: str) -> str:
    if (size := len(value.encode())) > MAX_PATH:
        raise InvalidRequest(field, f"is {size} bytes long, and {MAX_PATH} are allowed")
    if CONTROL.search(value):
        raise InvalidRequest(field, "holds control characters")
    parts = PurePosixPath(value).parts
    if ".." in parts:
        raise InvalidRequest(field, f"{value!r} leads upwards")
    if parts in (("/",), ("//",)):
        raise InvalidRequest(field, "must not be the root directory")
    if (size := max(len(part.encode()) for part in parts)) > MAX_PART:
        raise InvalidRequest(field, f"has a name of {size} bytes in it, and {MAX_PART} are allowed")
    return value


def located(value: str, field: str) -> str:
    """The path of something that should exist: whether absolute or not, that is for the look-up to say (NOT_FOUND)."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    return value if not value.startswith("/") else _plain_path(value, field)


def count(value: int, field: str) -> int:
    """How many entries a list may have; 0 is no limit."""
    if value < 0:
        raise InvalidRequest(field, f"{value} is negative")
    return value


def size_range(value: csi_pb2.CapacityRange, field: str = "capacity_range") -> SizeRange:
    """A range of sizes; 0 is "not given"."""
    for number, part in ((value.required_bytes, "required_bytes"), (value.limit_bytes, "limit_bytes")):
        if number < 0:
            raise InvalidRequest(f"{field}.{part}", f"{number} is negative")
    if value.required_bytes > MAX_SIZE:
        raise OutOfRange(f"{field}.required_bytes", f"{value.required_bytes} is more than {MAX_SIZE}")
    if value.limit_bytes and value.limit_bytes < value.required_bytes:
        raise OutOfRange(
            f"{field}.limit_bytes", f"{value.limit_bytes} is less than the {value.required_bytes} required"
        )
    return SizeRange(required=Bytes(value.required_bytes), limit=Bytes(value.limit_bytes))


def source(value: csi_pb2.VolumeContentSource, field: str = "volume_content_source") -> Source:
    """What a new volume starts with."""
    match value.WhichOneof("type"):
        case "snapshot":
            return Source(SourceKind.SNAPSHOT, required(value.snapshot.snapshot_id, f"{field}.snapshot.snapshot_id"))
        case "volume":
            return Source(SourceKind.VOLUME, required(value.volume.volume_id, f"{field}.volume.volume_id"))
        case _:
            raise InvalidRequest(field, "is of no kind that this driver knows: snapshot or volume")


def topology(value: csi_pb2.TopologyRequirement, field: str = "accessibility_requirements") -> Topology | None:
    """Where a volume must be reachable from; None when nothing is asked."""
    requisite = tuple(segments(item, f"{field}.requisite[{index}]") for index, item in enumerate(value.requisite))
    preferred = tuple(segments(item, f"{field}.preferred[{index}]") for index, item in enumerate(value.preferred))
    return Topology(requisite, preferred) if requisite or preferred else None


def segments(value: csi_pb2.Topology, field: str) -> dict[str, str]:
    """One set of topological segments."""
    if not value.segments:
        raise InvalidRequest(field, "has no segments")
    for key, segment in value.segments.items():
        if not _TOPOLOGY_KEY.fullmatch(key):
            raise InvalidRequest(f"{field}.segments", f"{key!r} is not a topology key")
        if not _TOPOLOGY_VALUE.fullmatch(segment):
            raise InvalidRequest(f"{field}.segments[{key}]", f"{segment!r} is not a topology segment")
    if len({key.lower() for key in value.segments}) < len(value.segments):
        raise InvalidRequest(f"{field}.segments", "has keys that differ in case only")
    return mapping(value.segments, f"{field}.segments")
