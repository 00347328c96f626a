"""Ids that follow from names: the name is the idempotency key, so the id must be too."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6f6b4e0e-6a53-5d0c-9b0a-2b1f0c1f6e55")
"""Fixed for ever: changing it would make every retried create a second volume."""


def _derive(kind: str, *parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\0".join((kind, *parts))))


def volume_id(name: str) -> str:
    """The id of the volume that CSI's CreateVolume names `name`; any text, also non-ASCII."""
    return _derive("volume", name)


def snapshot_id(name: str) -> str:
    return _derive("snapshot", name)


def group_snapshot_id(name: str) -> str:
    return _derive("group-snapshot", name)


def member_id(group_snapshot: str, volume: str) -> str:
    """The snapshot of that volume in a group snapshot."""
    return _derive("member", group_snapshot, volume)


def attachment_id(volume: str, node: str) -> str:
    """One attachment per volume and node."""
    return _derive("attachment", volume, node)
