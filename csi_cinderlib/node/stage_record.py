"""This node's record of each volume that is, or may be, attached: one JSON file per volume, on a host path.

A record is written before the host is changed and removed after everything is undone, so that it names all possible
remains after a crash (promise 4). It holds the connection, which a detach needs when the controller is not available. Secrets
are sealed while they are needed and then left out: see `record_secrets`.
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
    """Progress of staging. The device may be attached in any state."""

    INTENT = "intent"
    CONNECTED = "connected"
    FORMATTING = "formatting"
    """mkfs may have started, on a device without known content. The volume has not been in use since, so mkfs may run again."""
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
        fs_type: the file system on the device, or the target of an interrupted mkfs.
        boot_id: the boot in which the record was last written.
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


def encode(record: StageRecord, vault: Vault) -> bytes:
    """The content of the file. Raises the errors of the vault."""
    device = record.device
    connection = json.loads(record.connection.to_json())
    connection["data"], secret = record_secrets.divide(connection["data"])
    # After a reboot during mkfs, unstage connects the volume again.
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} must be text")
    return value
