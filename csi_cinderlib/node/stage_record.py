"""What this node remembers of each volume that it has, or may have, attached: one JSON file per volume, on a host path.

A record is written before the host is touched and removed after everything is undone, so that after a crash it says what
may be there (promise 4). It holds the connection, because detaching needs it when the controller cannot be asked any more. Secrets are
left out once they are of no use, and sealed as long as they are: see `record_secrets`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from csi_cinderlib.brick.device import Device
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.node import record_secrets
from csi_cinderlib.node.record_secrets import Vault

VERSION = 1


class State(enum.StrEnum):
    """How far staging came. Whatever it says, the device may be attached."""

    INTENT = "intent"
    CONNECTED = "connected"
    FORMATTING = "formatting"
    """mkfs was about to run. Nobody was given the volume since, so it may run again."""
    FORMATTED = "formatted"
    STAGED = "staged"

    @property
    def beyond_formatting(self) -> bool:
        """From here on no file system is ever made on the device."""
        return self in (State.FORMATTED, State.STAGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The volume is, or is about to be, published at a target path."""

    target_path: str
    capability: Capability
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One volume on this node.

    Attributes:
        device: as it was when it was connected last; its `wwid` is compared before every mount and mkfs (promise 2).
        fs_type: the file system that is on it, or that mkfs was making.
        boot_id: the kernel's run in which the record was written last.
    """

    volume_id: str
    staging_path: str
    capability: Capability
    connection: Connection
    state: State = State.INTENT
    device: Device | None = None
    fs_type: str = ""
    publications: tuple[Publication, ...] = ()
    boot_id: str = ""

    def is_of(self, connection: Connection) -> bool:
        """Whether the record is about that very attachment. Between two of them another node may have written to the volume.

        An attachment of before they had names is known by its connection alone, without the secrets, which a record need not have.
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


def encode(record: StageRecord, vault: Vault) -> bytes:
    """The file's content. Raises what the vault raises."""
    device = record.device
    connection = json.loads(record.connection.to_json())
    connection["data"], secret = record_secrets.divide(connection["data"])
    # An unstage attaches the volume once more when a reboot came between mkfs and its end.
    secret = record_secrets.needed(secret, record.connection.protocol, connects_again=record.state is State.FORMATTING)
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
    """Raises ValueError, KeyError, TypeError, AttributeError, RecursionError or InvalidRequest for what `encode` does not write."""
    raw = json.loads(text)
    if raw["v"] != VERSION:
        raise ValueError(f"it is of version {raw['v']}, this program knows version {VERSION}")
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
        state=State(raw["state"]),
        device=Device(**device) if device else None,
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
    """Whether a file's content has a secret in plain, as earlier versions wrote it. Raises as `decode`."""
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value
