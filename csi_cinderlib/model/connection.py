"""The data that a controller sends to a node: how to reach a volume, and the permitted operations on it."""

from __future__ import annotations

import enum
import json
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import received
from csi_cinderlib.model.capability import find_unsupported
from csi_cinderlib.model.encryption import find_unknown
from csi_cinderlib.model.size import MAX_SIZE, Bytes

VERSION = 1
LONGEST = 1024**2
"""Limit of `Connection.to_json` in bytes. It protects against decompression bombs; the real data are much smaller."""
_FIELD = "publish_context"


class Formatting(enum.StrEnum):
    """Whether the node may format the device (promise 1).

    NEVER_FORMATTED: no node has had the device. Format it if no signature is found.
    UNKNOWN: a node has had the device and may have formatted it. Format it only if it is proven to be empty.
    FORBIDDEN: the volume has a source, is read-only, or was attached as a raw device. It must already have a file system.
    """

    NEVER_FORMATTED = "never-formatted"
    UNKNOWN = "unknown"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a node reaches a volume, as described by the Cinder driver.

    Attributes:
        attachment: identifies this attachment, also among earlier ones of the same node. Progress that a node has stored is
            valid for this attachment only, because another node may have written to the volume in between.
        protocol: os-brick's driver_volume_type in lower case ("iscsi", "nfs", "rbd", "local" ...).
        data: os-brick's connection properties. Contains CHAP secrets.
        size: the least size of the device, or 0 if unknown.
        alone: no other node has the volume, so a read-only attachment may write to replay a journal.
        mkfs_options: extra arguments to mkfs, from the StorageClass.
        fs_type: the file system requested at creation, or "".
        encryption: the format in which the node encrypts the volume ("luks2"), or "". The controller's record decides.
        header: the UUID of the header of an encrypted volume; "" for any, as of an imported one.
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
    encryption: str = ""
    header: str = ""
    mkfs_options: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return `to_json` compressed with zlib: CSI limits a publish_context to 4 KiB, and a fabric can have many paths."""
        return zlib.compress(self.to_json(), 9)

    @classmethod
    def from_bytes(cls, sent: bytes) -> Connection:
        """Parse the output of `to_bytes`. Raises InvalidRequest, whose message does not contain the content."""
        try:
            return cls.from_json(received.inflate(sent, LONGEST))
        except ValueError as error:
            raise _foreign(str(error)) from None

    def to_json(self) -> bytes:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if not self.alone:
            del values["alone"]  # older nodes reject it as unknown, and most volumes do not need it
        if not self.encryption:
            del values["encryption"]  # the same; an older node refuses an encrypted volume instead of using it in plain
        if not self.header:
            del values["header"]
        return json.dumps({"v": VERSION, **values, "data": dict(self.data)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Connection:
        """Parse the output of `to_json`. Raises InvalidRequest, which names the field but does not contain the text."""
        try:
            raw = received.parse_object(text)
        except ValueError as error:
            raise _foreign(str(error)) from None
        version = raw.pop("v", None)
        if not _is_version(version):
            raise InvalidRequest(_FIELD, f"unsupported version {version}; supported: {VERSION}")
        return cls(**_parse(raw))


def _is_version(value: object) -> bool:
    if type(value) is not int:
        raise _foreign("missing version")
    return value == VERSION


def _parse(raw: Mapping[str, object]) -> dict[str, Any]:
    """Check and convert the fields. Raises InvalidRequest."""
    if unknown := sorted(set(raw) - set(_PARSERS)):
        raise _foreign(f"unknown field {unknown[0][:40]!r}")
    if missing := sorted(_REQUIRED - set(raw)):
        raise _foreign(f"missing field {missing[0]!r}")
    parsed: dict[str, Any] = {}
    for name, value in raw.items():
        try:
            parsed[name] = _PARSERS[name](value)
        except (TypeError, ValueError) as error:
            raise _foreign(f"field {name!r}: {error}") from None
    return parsed


def _foreign(why: str) -> InvalidRequest:
    return InvalidRequest(_FIELD, f"was not created by this driver's controller: {why}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("must be text")
    return value


def _word(value: object) -> str:
    if not _text(value):
        raise ValueError("must not be empty")
    return _text(value)


def _fs_type(value: object) -> str:
    if why := find_unsupported(_text(value)):
        raise ValueError(why)
    return _text(value)


def _encryption(value: object) -> str:
    if _text(value) and (why := find_unknown(_text(value))):
        raise ValueError(why)
    return _text(value)


def _uuid(value: object) -> str:
    if _text(value) and str(uuid.UUID(_text(value))) != value:
        raise ValueError("must be a UUID in lower case")
    return _text(value)


def _size(value: object) -> Bytes:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise ValueError(f"must be a number of bytes between 0 and {MAX_SIZE}")
    return Bytes(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("must be an object")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("must be a list")
    return tuple(_text(item) for item in value)


def _formatting(value: object) -> Formatting:
    try:
        return Formatting(_text(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Formatting)}") from None


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
    "encryption": _encryption,
    "header": _uuid,
    "mkfs_options": _words,
}
_REQUIRED = frozenset(item.name for item in fields(Connection) if item.default is MISSING) | {
    "formatting",
    "mkfs_options",
}
"""Fields without a default, and fields whose default would be a guess."""
