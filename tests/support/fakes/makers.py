"""Records for tests, with everything that does not matter filled in."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping

from csi_cinderlib.errors import DriverError, NotFound, OperationPending, PreconditionFailed
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.ids import SHARED
from csi_cinderlib.model.records import FOREIGN, Attachment, Snapshot, Source, SourceKind, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB

_numbers = itertools.count(1)

NOT_COPYABLE: Mapping[Status, type[DriverError]] = {
    Status.CREATING: OperationPending,
    Status.EXTENDING: OperationPending,
    Status.DELETING: NotFound,
    Status.DELETED: NotFound,
    Status.ERROR: PreconditionFailed,
    **dict.fromkeys((*FOREIGN, Status.IMPORTING, Status.UNMANAGING), OperationPending),
}
"""How a copy of a volume or snapshot in this status is refused."""


def new_id() -> str:
    return str(uuid.uuid4())


def volume(
    backend: str = "fake",
    *,
    size: int = 1,
    source: Volume | Snapshot | None = None,
    type: VolumeType | None = None,
    multiattach: bool = False,
    pool: str = "",
) -> Volume:
    """A volume that is still to be created; `source` makes it a clone or a restore."""
    kind = SourceKind.SNAPSHOT if isinstance(source, Snapshot) else SourceKind.VOLUME
    return Volume(
        id=new_id(),
        name=f"volume {next(_numbers)}",
        backend=backend,
        pool=pool,
        size=GiB(size),
        source=Source(kind, source.id) if source else None,
        type=type,
        multiattach=multiattach,
    )


def snapshot(volume: Volume) -> Snapshot:
    return Snapshot(
        id=new_id(), name=f"snapshot {next(_numbers)}", backend=volume.backend, volume_id=volume.id, size=volume.size
    )


def attachment(
    volume: Volume, node: str = "node-1", *, connector: Mapping[str, object] | None = None, read_only: bool = False
) -> Attachment:
    return Attachment(
        id=SHARED.attachment_id(volume.id, node),
        volume_id=volume.id,
        backend=volume.backend,
        node_id=node,
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        read_only=read_only,
        connector={"host": node, "ip": "127.0.0.1", "initiator": f"iqn.2010-10.test:{node}", **(connector or {})},
    )
