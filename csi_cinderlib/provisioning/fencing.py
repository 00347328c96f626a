"""Decides whether a node may have a volume that other nodes may have already. Pure (spec: ControllerPublishVolume)."""

from __future__ import annotations

from collections.abc import Sequence

from csi_cinderlib.errors import AlreadyExists, PreconditionFailed
from csi_cinderlib.lifecycle.lookup import check_whole
from csi_cinderlib.model import nodes
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.provisioning import access


def check_usable(volume: Volume, request: PublishVolume) -> None:
    """Check that the volume is complete and supports the request.

    Raises:
        PreconditionFailed: it does not.
    """
    check_whole(volume)
    why = access.find_obstacle(request.capability)
    if why := why or (access.find_encryption_obstacle([request.capability]) if volume.encryption else ""):
        raise PreconditionFailed(f"volume {volume.id!r}: {why}")


def attachment_on(attachments: Sequence[Attachment], node_id: str) -> Attachment | None:
    """The attachment of that node, or None."""
    return next((attachment for attachment in attachments if attachment.node_id == node_id), None)


def difference(attachment: Attachment, request: PublishVolume) -> str:
    """How an attachment of the same node differs from the request, or ""."""
    mode = request.capability.access_mode
    wanted = access.read_only(mode, asked=request.read_only)
    if attachment.access_mode is not mode:
        return f"its access mode is {attachment.access_mode}, but {mode} was requested"
    if attachment.block != request.capability.is_block:
        return f"it is {_kind(attachment.block)}, but {_kind(request.capability.is_block)} was requested"
    if attachment.read_only != wanted:
        return f"it is {_text(attachment.read_only)}, but {_text(wanted)} was requested"
    return ""


def is_reusable(attachment: Attachment, request: PublishVolume) -> bool:
    """Whether to return or finish this attachment of the same node. Otherwise it must be undone and created again.

    An answered attachment may be in use and is never undone here. An unanswered one cannot be in use.

    Raises:
        AlreadyExists: it was answered and differs from the request.
    """
    differs = difference(attachment, request)
    if attachment.status is not Status.AVAILABLE:
        return attachment.status is Status.CREATING and not differs
    if differs:
        raise AlreadyExists("attachment", f"{attachment.volume_id} on {attachment.node_id}", differs)
    return True


def check_alone(volume: Volume, attachments: Sequence[Attachment], request: PublishVolume) -> None:
    """Check that no attachment of another node excludes this one.

    An attachment counts from its intent until its record is removed: the node may write until the back end confirms the unmap.

    Raises:
        PreconditionFailed: another node has the volume.
    """
    mode = request.capability.access_mode
    for other in attachments:
        if other.node_id == request.node_id:
            continue
        if not (mode.multi_node and other.access_mode.multi_node):
            raise _taken(
                volume, other, f"access mode {mode if not mode.multi_node else other.access_mode} allows only one node"
            )
        if not volume.multiattach:
            raise _taken(volume, other, "the volume was not created for several nodes")
        if _second_writer(mode, other, request):
            raise _taken(
                volume,
                other,
                f"it writes, and access mode {AccessMode.MULTI_NODE_SINGLE_WRITER} allows only one writer",
            )


def _second_writer(mode: AccessMode, other: Attachment, request: PublishVolume) -> bool:
    if AccessMode.MULTI_NODE_SINGLE_WRITER not in {mode, other.access_mode}:
        return False
    return not other.read_only and not access.read_only(mode, asked=request.read_only)


def formatting(volume: Volume, attachment: Attachment, request: PublishVolume) -> Formatting:
    """Whether the node may create a file system, or the header of an encrypted volume.

    It must be proven that the volume began empty, and it must never have been a raw device. An encrypted raw device needs a header.
    """
    # An earlier version stored only the mark. That of a restored copy says nothing.
    began_empty = volume.began_empty or (attachment.blank and volume.source is None and not volume.mark_void)
    is_raw = (request.capability.is_block and not volume.encryption) or volume.raw
    if is_raw or attachment.read_only or not began_empty:
        return Formatting.FORBIDDEN
    is_new = attachment.blank and not volume.mark_void
    return Formatting.NEVER_FORMATTED if is_new else Formatting.UNKNOWN


def _taken(volume: Volume, other: Attachment, why: str) -> PreconditionFailed:
    """Names the node id, as the specification requires, and the node name if it differs."""
    name = nodes.shown(other.node_id, other.connector)
    node = repr(name) if name == other.node_id else f"{name!r} (node_id {other.node_id!r})"
    return PreconditionFailed(f"volume {volume.id!r} is published on node {node}: {why}")


def _kind(block: bool) -> str:
    return "a block device" if block else "a file system"


def _text(read_only: bool) -> str:
    return "read-only" if read_only else "writable"
