"""What travels from the controller to a node: how to reach the volume, and what may be done to it."""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.size import Bytes

VERSION = 1


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
            return cls.from_json(zlib.decompress(sent))
        except zlib.error:
            raise InvalidRequest("publish_context", "was not made by this driver's controller") from None

    def to_json(self) -> bytes:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if not self.alone:
            del values["alone"]  # an older node does not know it, and most volumes do not need it
        return json.dumps({"v": VERSION, **values, "data": dict(self.data)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Connection:
        """Raises InvalidRequest, without showing the text, when it is not what `to_json` writes."""
        try:
            raw = json.loads(text)
            version = raw.pop("v")
            if version != VERSION:
                raise InvalidRequest("publish_context", f"is of version {version}; this node knows version {VERSION}")
            raw["formatting"] = Formatting(raw["formatting"])
            raw["mkfs_options"] = tuple(raw["mkfs_options"])
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidRequest("publish_context", "was not made by this driver's controller") from None
