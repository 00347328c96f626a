"""What travels from the controller to a node: how to reach the volume, and what may be done to it."""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import received
from csi_cinderlib.model.capability import find_unsupported
from csi_cinderlib.model.size import MAX_SIZE, Bytes

VERSION = 1
LONGEST = 1024**2
"""Bytes of `Connection.to_json`. What travels has 4 KiB and unfolds to much less; what is longer is there to fill memory."""
_FIELD = "publish_context"


class Formatting(enum.StrEnum):
    """Whether the node may make a file system on the device (promise 1).

    NEVER_FORMATTED: no node saw the device before: make one if no signature is found.
    UNKNOWN: some node had it before and may have formatted it: only if it is proven to hold nothing.
    FORBIDDEN: it has a source, is read-only, or was attached as a raw device: it must carry a file system already.
    """

    NEVER_FORMATTED = "never-formatted"
    UNKNOWN = "unknown"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a node reaches a volume, as its Cinder driver described it.

    Attributes:
        attachment: tells this attachment from every other one, also from an earlier one of the same node. What a node
            remembers of its progress counts for that one alone: between two, another node may have written.
        protocol: os-brick's driver_volume_type in lower case ("iscsi", "nfs", "rbd", "local" ...).
        data: os-brick's connection properties. Holds CHAP secrets.
        size: the size that the device must show, or 0 if unknown.
        alone: no other node has the volume: a read-only attachment may write to replay a journal.
        mkfs_options: extra arguments to mkfs, from the StorageClass.
        fs_type: the file system asked for when the volume was created, or "".
    """

    volume_id: str
    attachment: str = ""
    protocol: str
    data: Mapping[str, object] = field(repr=False)
    size: Bytes = Bytes(0)
    formatting: Formatting = Formatting.FORBIDDEN
    read_only: bool = False
    alone: bool = False
    fs_type: str = ""
    mkfs_options: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """As it travels: `to_json`, deflated, since CSI allows a publish_context 4 KiB and a fabric has many paths."""
        return zlib.compress(self.to_json(), 9)

    @classmethod
    def from_bytes(cls, sent: bytes) -> Connection:
        """Raises InvalidRequest, without showing the content, when it is not what `to_bytes` writes."""
        try:
            return cls.from_json(received.inflate(sent, LONGEST))
        except ValueError as error:
            raise _foreign(str(error)) from None

    def to_json(self) -> bytes:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if not self.alone:
            del values["alone"]  # an older node does not know it, and most volumes do not need it
        return json.dumps({"v": VERSION, **values, "data": dict(self.data)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Connection:
        """Raises InvalidRequest, without showing the text, when it is not what `to_json` writes; names the field that is wrong."""
        try:
            raw = received.parse_object(text)
        except ValueError as error:
            raise _foreign(str(error)) from None
        version = raw.pop("v", None)
        if not _is_version(version):
            raise InvalidRequest(_FIELD, f"is of version {version}; this node knows version {VERSION}")
        return cls(**_parse(raw))


def _is_version(value: object) -> bool:
    if type(value) is not int:
        raise _foreign("it has no version")
    return value == VERSION


def _parse(raw: Mapping[str, object]) -> dict[str, Any]:
    """The fields, each of its type. Raises InvalidRequest."""
    if unknown := sorted(set(raw) - set(_PARSERS)):
        raise _foreign(f"it has the unknown field {unknown[0][:40]!r}")
    if missing := sorted(_REQUIRED - set(raw)):
        raise _foreign(f"it lacks the field {missing[0]!r}")
    parsed: dict[str, Any] = {}
    for name, value in raw.items():
        try:
            parsed[name] = _PARSERS[name](value)
        except (TypeError, ValueError) as error:
            raise _foreign(f"its field {name!r} {error}") from None
    return parsed


def _foreign(why: str) -> InvalidRequest:
    return InvalidRequest(_FIELD, f"was not made by this driver's controller: {why}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is not text")
    return value


def _word(value: object) -> str:
    if not _text(value):
        raise ValueError("is empty")
    return _text(value)


def _fs_type(value: object) -> str:
    if why := find_unsupported(_text(value)):
        raise ValueError(f"is one that this node does not know: {why}")
    return _text(value)


def _size(value: object) -> Bytes:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError(f"is not a number of bytes from 0 to {MAX_SIZE}")
    return Bytes(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("is neither true nor false")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("is not an object")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("is not a list")
    return tuple(_text(item) for item in value)


def _formatting(value: object) -> Formatting:
    try:
        return Formatting(_text(value))
    except ValueError:
        raise ValueError(f"is none of {', '.join(Formatting)}") from None


_PARSERS: Mapping[str, Callable[[object], object]] = {
    "volume_id": _word,
    "attachment": _text,
    "protocol": _text,
    "data": _object,
    "size": _size,
    "formatting": _formatting,
    "read_only": _flag,
    "alone": _flag,
    "fs_type": _fs_type,
    "mkfs_options": _words,
}
_REQUIRED = frozenset(item.name for item in fields(Connection) if item.default is MISSING) | {
    "formatting",
    "mkfs_options",
}
"""Those without a default, and those whose default would be a guess."""
