"""Where a volume is visible on this node, from the mount table."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from csi_cinderlib.errors import AlreadyExists, HostError, PreconditionFailed
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.node.stage_records import StageRecords


def key(volume_id: str) -> str:
    """The volume's key in the node's locks, apart from the controller's when both share a process."""
    return f"node:{volume_id}"


def path_key(path: str) -> str:
    """The key of a resolved path in the node's locks: two volumes are never mounted or unmounted at one path at once."""
    return f"node-path:{path}"


def visible(record: StageRecord) -> Mapping[str, Mount]:
    """Mount points of the volume's device, and of its read-only view, by path; empty when the device is not there."""
    table = mounts.table()
    uppermost = {item.target: item for item in table}
    return {item.target: item for item in layers(record, table) if uppermost[item.target] == item}


def layers(record: StageRecord, table: Sequence[Mount]) -> Sequence[Mount]:
    """What `visible` finds, and in addition what lies below another mount."""
    device = record.device
    if device is None or is_another_device(record):
        return ()
    view = read_only_view(record)
    return (*mounts.by_device(device.path, among=table), *(mounts.by_device(view, among=table) if view else ()))


def refuse_covered(record: StageRecord) -> None:
    """A disk may go although it is mounted, and with it what its file system has not written yet.

    Raises:
        PreconditionFailed: the volume is mounted below something else, which this driver does not unmount.
    """
    table = mounts.table()
    own = layers(record, table)
    for item in own:
        above = (other for other in table[table.index(item) + 1 :] if other.target == item.target)
        if other := next((other for other in above if other not in own), None):
            raise PreconditionFailed(
                f"volume {record.volume_id} is still mounted at {item.target}, below {other.fs_type} from {other.source}: "
                "unmount that first"
            )


def staged_mount(record: StageRecord) -> Mount | None:
    """The mount at the staging path, if it shows the volume's own device.

    Raises:
        HostError: another mount hides it (see `require_reached`).
    """
    return _staged(record, visible(record))


def published(record: StageRecord) -> Mapping[str, Mount]:
    """Where the volume is visible besides its staging path. Raises HostError when another mount hides the staging path."""
    seen = visible(record)
    here = _staged(record, seen)
    return {path: item for path, item in seen.items() if item != here}


def _staged(record: StageRecord, seen: Mapping[str, Mount]) -> Mount | None:
    here = mounts.find(record.staging_path)
    if here is None or seen.get(here.target) != here:
        return None
    require_reached(here)
    return here


def require_reached(here: Mount) -> None:
    """See that the path of a mount leads to it: a bind, or a question about the path, would reach somebody else's files.

    Raises:
        HostError: a later mount above it hides it; the message names both.
    """
    if cover := mounts.cover_of(here):
        raise HostError(mounts.hidden(here, cover))


def require_none_below(path: str) -> None:
    """Raises AlreadyExists when a mount at the path would hide others below it."""
    if below := [item.target for item in mounts.table() if item.target.startswith(f"{path}/")]:
        raise AlreadyExists("staging path", path, f"a mount there would hide {', '.join(below)}")


def read_only_view(record: StageRecord) -> str:
    """The loop device that shows the volume's device read-only, or ""."""
    device = record.device
    if device is None or not record.capability.is_block:
        return ""
    return devices.find_attached(device.path, read_only=True) or ""


def detach_read_only_view(record: StageRecord) -> None:
    """Take away what `read_only_view` finds. Raises HostError: it is in use."""
    if record.device and record.capability.is_block:
        devices.detach_from(record.device.path, read_only=True)


def is_another_device(record: StageRecord) -> bool:
    """Whether the path in the record is another device by now, or none: then its mounts are not ours."""
    device = record.device
    if device is None or not devices.is_block_device(device.path):
        return True
    try:
        return devices.identity(device.path) != device.wwid
    except HostError:
        return True


def identity(here: Mount) -> str:
    """What the block device behind a mount is (`devices.identity`); "" when there is none, or it does not tell."""
    with contextlib.suppress(HostError):
        device = mounts.device_path(here)
        return devices.identity(device) if device else ""
    return ""


def is_own(records: StageRecords, record: StageRecord, here: Mount) -> bool:
    """Whether a mount shows this volume: its device, under whatever path; or the device under the recorded path, although it
    says by now that it is another one, unless that is another volume of this node.
    """
    device = record.device
    if device is None:
        return False
    name = identity(here)
    if name and name == device.wwid:
        return True
    with contextlib.suppress(HostError):
        return here in mounts.by_device(device.path) and not records.owner_of(name, other_than=record.volume_id)
    return False


def unmount_own(records: StageRecords, record: StageRecord, path: str, *, recorded: bool = True) -> Mount | None:
    """Unmount the volume from a path, layer by layer. What else is mounted there stays, and is returned.

    Args:
        recorded: the record says that the volume is, or was, mounted there. Only then a mount whose device is gone, so that
            it can no longer be compared, counts as the volume's.

    Raises:
        HostError: in use, or it cannot be unmounted.
    """
    while here := mounts.find(path):
        if not (is_own(records, record, here) or (recorded and mounts.is_dead(here))):
            return here
        mounts.unmount_uppermost(path)
    return None
