"""This node's record of each volume that is, or may be, attached: one JSON file per volume, on a host path.

A record is written before the host is changed and removed after everything is undone, so that it names all possible
remains after a crash (promise 4). It holds the connection, which a detach needs when the controller is not available. Secrets
are sealed while they are needed and then left out: see `record_secrets`.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.host import luks
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.requests import StageVolume
from csi_cinderlib.node import durable_files, record_secrets
from csi_cinderlib.node.record_secrets import Vault
from csi_cinderlib.pages import HEADER_PAGE

VERSION = 1


class State(enum.StrEnum):
    """Progress of staging. The device may be attached in any state."""

    INTENT = "intent"
    CONNECTED = "connected"
    FORMATTED = "formatted"
    STAGED = "staged"

    @property
    def beyond_formatting(self) -> bool:
        """Whether the device must not be formatted any more."""
        return self in (State.FORMATTED, State.STAGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A target path at which the volume is, or is about to be, published."""

    target_path: str
    capability: Capability
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One volume on this node.

    Attributes:
        device: as last connected; its `wwid` is compared before every mount and mkfs (promise 2).
        header: the UUID of the volume's LUKS2 header, stored before the header is written or opened; "" if unknown.
        fs_type: the file system on the device, or the target of an interrupted mkfs.
        boot_id: the boot in which the record was last written.
    """

    volume_id: str
    staging_path: str
    capability: Capability
    connection: Connection
    state: State = State.INTENT
    device: Device | None = None
    header: str = ""
    fs_type: str = ""
    publications: tuple[Publication, ...] = ()
    boot_id: str = ""

    @property
    def mapping(self) -> str:
        """The name of an encrypted volume's device-mapper device; "" for a volume in plain. It depends on the volume's id only."""
        return mapping_name(self.volume_id) if self.connection.encryption else ""

    @property
    def content(self) -> Device | None:
        """The device that has the volume's file system, or is published as a raw device: never the device of an encrypted volume itself,
        but its mapping, which may not be open. None before the device is connected or its header is known.
        """
        if not self.mapping:
            return self.device
        if not self.header:
            return None
        return Device(path=luks.path_of(self.mapping), wwid=luks.identity_of(self.header, self.mapping))

    @property
    def identities(self) -> frozenset[str]:
        """The known identities of the volume's device and of its content. Does not ask the device mapper, whose failure must not affect
        volumes in plain.
        """
        content = {luks.identity_of(self.header, self.mapping)} if self.mapping and self.header else set()
        return frozenset({*content, *((self.device.wwid,) if self.device else ())})

    def is_of(self, connection: Connection) -> bool:
        """Whether the record is for the same attachment. Between two attachments another node may have written to the volume.

        Attachments of earlier versions have no name. Their connections are compared, without the secrets.
        """
        known = self.connection
        if known.attachment or connection.attachment:
            return known.attachment == connection.attachment
        return (known.protocol, _public(known)) == (connection.protocol, _public(connection))

    def publication(self, target_path: str) -> Publication | None:
        return next((item for item in self.publications if item.target_path == target_path), None)

    def published(self, publication: Publication) -> StageRecord:
        return replace(self, publications=(*self.unpublished(publication.target_path).publications, publication))

    def unpublished(self, target_path: str) -> StageRecord:
        kept = tuple(item for item in self.publications if item.target_path != target_path)
        return replace(self, publications=kept)


def require_same_encryption(record: StageRecord, connection: Connection) -> None:
    """Raises PreconditionFailed if a known volume was encrypted and now is in plain, or the reverse. That never changes for a volume."""
    known, told = record.connection.encryption or "none", connection.encryption or "none"
    if known != told:
        raise PreconditionFailed(
            f"volume {record.volume_id}: this node knows it with encryption {known}, but the controller now says {told}; it was not "
            f"staged. Is an older version of the controller running? See {HEADER_PAGE}"
        )


def begin(request: StageVolume, connection: Connection, previous: StageRecord | None) -> StageRecord:
    """The record of this attempt, with the progress of an earlier attempt for the same attachment."""
    record = StageRecord(
        volume_id=request.volume_id,
        staging_path=request.staging_path,
        capability=request.capability,
        connection=connection,
    )
    if previous is None:
        return record
    return replace(
        record,
        publications=previous.publications,
        device=previous.device,
        header=previous.header,
        state=previous.state,
        fs_type=previous.fs_type,
    )


_FORMATTING = "formatting"
"""An earlier version stored that mkfs was about to run."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def mapping_name(volume_id: str) -> str:
    """A unique name for any volume id. The kernel limits the UUID of a mapping, which contains the name, to 128 characters."""
    name = volume_id if _PLAIN_ID.fullmatch(volume_id) else durable_files.hashed(volume_id)
    return f"cinderlib-{name}"


def encode(record: StageRecord, vault: Vault) -> bytes:
    """The content of the file. Raises the errors of the vault."""
    device = record.device
    connection = json.loads(record.connection.to_json())
    connection["data"], secret = record_secrets.divide(connection["data"])
    secret = record_secrets.needed(secret, record.connection.protocol)
    info, secret_info = record_secrets.divide(device.info if device else {})
    sealed = {"data": secret, "info": secret_info}
    content = {
        "v": VERSION,
        "volume_id": record.volume_id,
        "staging_path": record.staging_path,
        "capability": _capability(record.capability),
        "connection": connection,
        "state": record.state,
        "device": device
        and {
            "path": device.path,
            "wwid": device.wwid,
            "multipath": device.multipath,
            "file": device.file,
            "info": info,
        },
        **({"header": record.header} if record.header else {}),
        "fs_type": record.fs_type,
        "publications": [
            {"target_path": item.target_path, "read_only": item.read_only, "capability": _capability(item.capability)}
            for item in record.publications
        ],
        "boot_id": record.boot_id,
    }
    if secret or secret_info:
        content["sealed"] = vault.seal(json.dumps(sealed, separators=(",", ":")).encode())
    return json.dumps(content, separators=(",", ":")).encode()


def decode(text: bytes, vault: Vault) -> StageRecord:
    """Raises ValueError, KeyError, TypeError, AttributeError, RecursionError or InvalidRequest for invalid content."""
    raw = json.loads(text)
    if raw["v"] != VERSION:
        raise ValueError(f"unsupported version {raw['v']!r}; supported: {VERSION}")
    device = raw["device"]
    connection = Connection.from_json(json.dumps(raw["connection"]).encode())
    if sealed := raw.get("sealed"):
        opened = json.loads(vault.open(_text(sealed)))
        connection = replace(connection, data={**connection.data, **opened["data"]})
        device = device and {**device, "info": {**device["info"], **opened["info"]}}
    return StageRecord(
        volume_id=_text(raw["volume_id"]),
        staging_path=_text(raw["staging_path"]),
        capability=_parsed_capability(raw["capability"]),
        connection=connection,
        state=_state(raw["state"]),
        device=Device(**device) if device else None,
        header=_text(raw.get("header", "")),
        fs_type=_text(raw["fs_type"]),
        publications=tuple(
            Publication(
                target_path=_text(item["target_path"]),
                read_only=bool(item["read_only"]),
                capability=_parsed_capability(item["capability"]),
            )
            for item in raw["publications"]
        ),
        boot_id=_text(raw["boot_id"]),
    )


def exposes_secrets(text: bytes) -> bool:
    """Whether the content has a plain-text secret, as written by earlier versions. Raises as `decode`."""
    raw = json.loads(text)
    device = raw["device"]
    parts = (raw["connection"]["data"], device["info"] if device else {})
    return any(secret for _, secret in map(record_secrets.divide, parts))


def _public(connection: Connection) -> dict[str, Any]:
    return record_secrets.divide(connection.data)[0]


def _capability(capability: Capability) -> dict[str, object]:
    mode = {"access_mode": capability.access_mode}
    kind = capability.access_type
    if isinstance(kind, Block):
        return {**mode, "block": True}
    return {**mode, "fs_type": kind.fs_type, "flags": kind.flags, "group": kind.group}


def _parsed_capability(raw: Mapping[str, Any]) -> Capability:
    mode = AccessMode(raw["access_mode"])
    if raw.get("block"):
        return Capability(Block(), mode)
    return Capability(Mount(fs_type=raw["fs_type"], flags=tuple(raw["flags"]), group=raw["group"]), mode)


def _state(text: str) -> State:
    return State.CONNECTED if text == _FORMATTING else State(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} must be text")
    return value
