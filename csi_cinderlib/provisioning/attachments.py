"""ControllerPublishVolume and ControllerUnpublishVolume, with fencing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound, ResourceExhausted, Unsupported
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.lifecycle.lookup import get_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import nodes
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import Attachment, Node, Status, Volume
from csi_cinderlib.model.requests import FS_TYPE, PublishVolume
from csi_cinderlib.model.size import Bytes, GiB, to_bytes
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.provisioning import access, fencing, locking
from csi_cinderlib.provisioning.contexts import Contexts
from csi_cinderlib.provisioning.registrations import Registrations

CONTEXT_KEY = "connection"
MKFS_OPTIONS = "mkfsOptions"
MAX_CONTEXT = 4096
"""Bytes of publish_context, keys and values together (spec: "Size Limits")."""


class Attachments:
    """Publishes volumes, and seals the connection data for the node.

    Args:
        contexts: seals publish_context, because Kubernetes shows it in the status of a VolumeAttachment.
        max_per_node: limit of volumes on one node; 0 means no limit.
        registrations: registered nodes, if nodes register. Otherwise node ids carry the connector properties.
    """

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        ids: Namespace,
        contexts: Contexts,
        max_per_node: int = 0,
        registrations: Registrations | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backends = backends
        self._locks = locks
        self._ids = ids
        self._contexts = contexts
        self._max_per_node = max_per_node
        self._registrations = registrations
        self._clock = clock

    def publish(self, request: PublishVolume) -> dict[str, str]:
        """Make the volume reachable from the node; returns the publish_context.

        Raises:
            NotFound: the volume or the node does not exist.
            InvalidRequest: the node id has a wrong form.
            AlreadyExists: it is published there with other options.
            PreconditionFailed: another node has the volume, or owns a name that this node registered.
            ResourceExhausted: the node has reached its limit of volumes.
        """
        id = request.volume_id
        with self._locks.hold(locking.attachments(id), shared=[locking.volume(id)]):
            volume = get_volume(self._store, id)
            node, connector = self._node(request.node_id, volume)
            node = self._contexts.prepare(node)
            fencing.check_usable(volume, request)
            attachment, is_answered = self._attach(volume, connector, request)
            if (
                not request.capability.is_block
            ):  # whether it may be formatted, now that other processes see this attachment
                volume = self._store.get(Volume, id)
            alone = attachment.read_only and self._is_alone(attachment)
            text = self._contexts.seal(node, connection(volume, attachment, request, alone=alone).to_bytes())
            if len(CONTEXT_KEY) + len(text) > MAX_CONTEXT:
                if not is_answered:  # no node can use it, and the attacher would not unpublish it
                    self._detach(attachment)
                raise _too_long(volume, len(CONTEXT_KEY) + len(text))
            reach("publish.sealed")
            return {CONTEXT_KEY: text}

    def unpublish(self, volume_id: str, node_id: str) -> None:
        """Detach the volume from the node, or from all nodes if `node_id` is "".

        Succeeds if the volume, node or attachment does not exist. Needs no action of the node: the unmap on the back end is the fence.
        """
        with self._locks.hold(locking.attachments(volume_id), shared=[locking.volume(volume_id)]):
            for attachment in self._attachments(volume_id):
                if node_id in {"", attachment.node_id}:
                    self._detach(attachment)

    def _attach(self, volume: Volume, connector: dict[str, object], request: PublishVolume) -> tuple[Attachment, bool]:
        """The attachment, and whether an earlier call returned it, so that the node may use it."""
        backend = self._backends.get(volume.backend)
        attachments = self._attachments(volume.id)

        def check(others: Sequence[Attachment]) -> None:
            """Check again once the record of this attachment is visible: of two parallel calls, one sees the other."""
            fencing.check_alone(volume, others, request)
            self._check_slots(request.node_id, own=1)

        fencing.check_alone(volume, attachments, request)
        found = fencing.attachment_on(attachments, request.node_id)
        if found is not None and not fencing.is_reusable(found, request):
            self._detach(found)
            volume, found = self._store.get(Volume, volume.id), None
        if found is None:
            self._check_slots(request.node_id)
        is_answered = found is not None and found.status is Status.AVAILABLE
        return backend.connect(volume, self._new(volume, connector, request), check=check), is_answered

    def _is_alone(self, attachment: Attachment) -> bool:
        """Whether no other node has the volume. The record of this attachment is visible, so of two parallel calls one sees the other."""
        return {other.node_id for other in self._attachments(attachment.volume_id)} <= {attachment.node_id}

    def _detach(self, attachment: Attachment) -> None:
        self._backends.get(attachment.backend).disconnect(attachment)

    def _new(self, volume: Volume, connector: dict[str, object], request: PublishVolume) -> Attachment:
        mode = request.capability.access_mode
        return Attachment(
            id=self._ids.attachment_id(volume.id, request.node_id),
            volume_id=volume.id,
            backend=volume.backend,
            node_id=request.node_id,
            access_mode=mode,
            read_only=access.read_only(mode, asked=request.read_only),
            block=request.capability.is_block,
            connector=connector,
            created_at=stamp(self._clock()),
        )

    def _node(self, node_id: str, volume: Volume) -> tuple[Node, dict[str, object]]:
        """The node and its connector properties for drivers. Raises NotFound("node"), InvalidRequest, PreconditionFailed."""
        if self._registrations is not None:
            return self._registrations.find(node_id, self._backends.get(volume.backend).protocol)
        carried = nodes.decode(node_id)
        if carried is None:
            raise NotFound("node", node_id)
        return Node(id=node_id, connector=carried), carried

    def _attachments(self, volume_id: str) -> list[Attachment]:
        return list(all_of(self._store, Attachment, {"volume_id": volume_id}))

    def _check_slots(self, node_id: str, *, own: int = 0) -> None:
        """Check that the node has a free slot; `own` of the used slots belong to this call."""
        if not self._max_per_node:
            return
        page = self._store.page(Attachment, limit=self._max_per_node + own, where={"node_id": node_id})
        if len(page.records) + len(page.corrupt) >= self._max_per_node + own:
            raise ResourceExhausted(
                f"node {node_id!r} has {self._max_per_node} volumes, the maximum (setting max_volumes_per_node)"
            )


def _too_long(volume: Volume, length: int) -> Unsupported:
    return Unsupported(
        f"volume {volume.id!r}: its publish_context needs {length} bytes, but CSI allows {MAX_CONTEXT}; "
        f"configure fewer portals or paths on back end {volume.backend!r}"
    )


def _file_system(volume: Volume, capability: Capability) -> str:
    """A copy or an imported volume keeps its file system unless a file system is requested."""
    default = volume.parameters.get(FS_TYPE, "")
    if volume.source is not None or volume.imported is not None:
        return access.asked_file_system([capability], default) if not capability.is_block else ""
    return access.file_system(capability, default=default)


def least_size(volume: Volume) -> Bytes:
    """The size that the device must have before a node uses it. An expansion adds whole GiB, so it proves that the last one is visible.

    The size of a volume that this program has not created may have been rounded up to whole GiB, here or in Cinder, and that of its copies
    with it.
    """
    if volume.began_empty and volume.source is None:
        return to_bytes(volume.size)
    return Bytes(to_bytes(GiB(volume.size - 1)) + 1)


def connection(volume: Volume, attachment: Attachment, request: PublishVolume, *, alone: bool = False) -> Connection:
    """The connection data for the node. Pure."""
    info = attachment.connection_info
    data = info.get("data")
    return Connection(
        volume_id=volume.id,
        attachment=f"{attachment.id}@{attachment.created_at}",
        protocol=str(info.get("driver_volume_type", "")).lower(),
        data=dict(data) if isinstance(data, dict) else {},
        size=least_size(volume),
        formatting=fencing.formatting(volume, attachment, request),
        read_only=attachment.read_only,
        alone=alone,
        fs_type=_file_system(volume, request.capability),
        encryption=volume.encryption,
        header=volume.header,
        mkfs_options=tuple(shlex.split(volume.parameters.get(MKFS_OPTIONS, ""))),
    )
