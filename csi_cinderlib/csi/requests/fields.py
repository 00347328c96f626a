"""Checks single fields against the limits of the specification. Functions take a value and the path of its field, and return the value.

All raise InvalidRequest with that path, or its subclass OutOfRange for sizes. Messages never contain values of maps.
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
"""PATH_MAX of the kernel without the final NUL. The limit of 128 bytes in the specification does not apply to paths."""
MAX_PART = 255
"""NAME_MAX of the kernel, for each component of a path."""

# Spec, CreateVolumeRequest.name: control characters other than usual white space are banned.
_BANNED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Spec, Topology: keys are [prefix/]name, each part at most 63 characters.
_SEGMENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
_TOPOLOGY_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,61}}[a-z0-9])?/)?{_SEGMENT}")
_TOPOLOGY_VALUE = re.compile(_SEGMENT)


def text(value: str, field: str, *, limit: int = MAX_TEXT) -> str:
    """A single line of text, which may be empty. The limit is in bytes of UTF-8."""
    if (size := len(value.encode())) > limit:
        raise InvalidRequest(field, f"is {size} bytes long; the limit is {limit}")
    if CONTROL.search(value):
        raise InvalidRequest(field, "must not contain control characters")
    return value


def required(value: str, field: str, *, limit: int = MAX_TEXT) -> str:
    """Like `text`, but not empty."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    return text(value, field, limit=limit)


def name(value: str, field: str = "name") -> str:
    """A name chosen by the caller. It may contain non-ASCII characters and line breaks."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    if (size := len(value.encode())) > MAX_TEXT:
        raise InvalidRequest(field, f"is {size} bytes long; the limit is {MAX_TEXT}")
    if banned := _BANNED.search(value):
        raise InvalidRequest(
            field, f"must not contain the control character U+{ord(banned[0]):04X} (CSI specification)"
        )
    return value


def ids(values: Iterable[str], field: str) -> tuple[str, ...]:
    """Ids without duplicates."""
    found: dict[str, None] = {}
    for index, value in enumerate(values):
        if required(value, f"{field}[{index}]") in found:
            raise InvalidRequest(f"{field}[{index}]", f"{value!r} is listed twice")
        found[value] = None
    return tuple(found)


def mapping(values: Mapping[str, str], field: str) -> dict[str, str]:
    """A map. The limit applies to all keys and values together."""
    if (size := sum(len(key.encode()) + len(value.encode()) for key, value in values.items())) > MAX_MAP:
        raise InvalidRequest(field, f"is {size} bytes in total; the limit is {MAX_MAP}")
    if "" in values:
        raise InvalidRequest(field, "must not contain an empty key")
    return dict(values)


def path(value: str, field: str) -> str:
    """An absolute path without `..`."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    if not value.startswith("/"):
        raise InvalidRequest(field, f"must be an absolute path (got {value!r})")
    return _plain_path(value, field)


def _plain_path(value: str, field: str) -> str:
    if (size := len(value.encode())) > MAX_PATH:
        raise InvalidRequest(field, f"is {size} bytes long; the limit is {MAX_PATH}")
    if CONTROL.search(value):
        raise InvalidRequest(field, "must not contain control characters")
    parts = PurePosixPath(value).parts
    if ".." in parts:
        raise InvalidRequest(field, f"must not contain '..' (got {value!r})")
    if parts in (("/",), ("//",)):
        raise InvalidRequest(field, "must not be the root directory")
    if (size := max(len(part.encode()) for part in parts)) > MAX_PART:
        raise InvalidRequest(field, f"has a component of {size} bytes; the limit is {MAX_PART}")
    return value


def located(value: str, field: str) -> str:
    """A path that should exist. A relative path is accepted here; the look-up then fails with NOT_FOUND."""
    if not value:
        raise InvalidRequest(field, "must not be empty")
    return value if not value.startswith("/") else _plain_path(value, field)


def count(value: int, field: str) -> int:
    """The maximum number of entries of a list; 0 means no limit."""
    if value < 0:
        raise InvalidRequest(field, f"must not be negative (got {value})")
    return value


def size_range(value: csi_pb2.CapacityRange, field: str = "capacity_range") -> SizeRange:
    """A range of sizes; 0 means "not given"."""
    for number, part in ((value.required_bytes, "required_bytes"), (value.limit_bytes, "limit_bytes")):
        if number < 0:
            raise InvalidRequest(f"{field}.{part}", f"must not be negative (got {number})")
    if value.required_bytes > MAX_SIZE:
        raise OutOfRange(f"{field}.required_bytes", f"must be at most {MAX_SIZE} (got {value.required_bytes})")
    if value.limit_bytes and value.limit_bytes < value.required_bytes:
        raise OutOfRange(
            f"{field}.limit_bytes", f"must be at least required_bytes, {value.required_bytes} (got {value.limit_bytes})"
        )
    return SizeRange(required=Bytes(value.required_bytes), limit=Bytes(value.limit_bytes))


def source(value: csi_pb2.VolumeContentSource, field: str = "volume_content_source") -> Source:
    """The source of a new volume."""
    match value.WhichOneof("type"):
        case "snapshot":
            return Source(SourceKind.SNAPSHOT, required(value.snapshot.snapshot_id, f"{field}.snapshot.snapshot_id"))
        case "volume":
            return Source(SourceKind.VOLUME, required(value.volume.volume_id, f"{field}.volume.volume_id"))
        case _:
            raise InvalidRequest(field, "unsupported source; supported: snapshot, volume")


def topology(value: csi_pb2.TopologyRequirement, field: str = "accessibility_requirements") -> Topology | None:
    """The topology from which a volume must be reachable; None without a requirement."""
    requisite = tuple(segments(item, f"{field}.requisite[{index}]") for index, item in enumerate(value.requisite))
    preferred = tuple(segments(item, f"{field}.preferred[{index}]") for index, item in enumerate(value.preferred))
    return Topology(requisite, preferred) if requisite or preferred else None


def segments(value: csi_pb2.Topology, field: str) -> dict[str, str]:
    """One set of topological segments."""
    if not value.segments:
        raise InvalidRequest(field, "must have at least one segment")
    for key, segment in value.segments.items():
        if not _TOPOLOGY_KEY.fullmatch(key):
            raise InvalidRequest(f"{field}.segments", f"{key!r} is not a valid topology key")
        if not _TOPOLOGY_VALUE.fullmatch(segment):
            raise InvalidRequest(f"{field}.segments[{key}]", f"{segment!r} is not a valid topology segment")
    if len({key.lower() for key in value.segments}) < len(value.segments):
        raise InvalidRequest(f"{field}.segments", "has keys that differ only in case")
    return mapping(value.segments, f"{field}.segments")
