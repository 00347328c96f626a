"""Where a volume is visible on this node, from the mount table."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csi_cinderlib.brick.addresses import addresses_of
from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import AlreadyExists, HostError, PreconditionFailed
from csi_cinderlib.host import devices, identities, mounts
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.node import health
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.node.stage_records import StageRecords


def key(volume_id: str) -> str:
    """The volume's key in the node's locks. It differs from the controller's key, as both may share a process."""
    return f"node:{volume_id}"


def path_key(path: str) -> str:
    """The key of a resolved path in the node's locks: only one mount or unmount at a path at a time."""
    return f"node-path:{path}"


@dataclass(frozen=True, slots=True)
class Observation:
    """A snapshot of a volume's mounts on this node. A call reads it once, and again only after a change.

    Attributes:
        table: all mounts.
        device: the connected device, if its recorded path still leads to it. Only this one may be given up or taken offline.
        content: the device with the volume's content (`StageRecord.content`), if it is here: for a volume in plain the same one.
        own: mounts of the content and of its read-only view, including covered ones; empty without it.
        view: see `read_only_view`.
    """

    record: StageRecord
    table: tuple[Mount, ...]
    device: Device | None = None
    content: Device | None = None
    own: tuple[Mount, ...] = ()
    view: str = ""

    def at(self, path: str) -> Mount | None:
        """The uppermost mount on exactly this path."""
        return mounts.uppermost(path, self.table)

    def visible(self) -> Mapping[str, Mount]:
        """The mounts in `own` that are uppermost at their path, by path."""
        uppermost = {item.target: item for item in self.table}
        return {item.target: item for item in self.own if uppermost[item.target] == item}

    def places(self) -> tuple[Mount | None, Mapping[str, Mount]]:
        """The mount at the staging path if it is of the volume's device, and the volume's other visible mounts by path.

        Raises:
            HostError: another mount hides the staging mount (see `require_reached`).
        """
        seen = self.visible()
        here = self.at(self.record.staging_path)
        if here is None or seen.get(here.target) != here:
            return None, seen
        require_reached(here, self.table)
        return here, {path: item for path, item in seen.items() if item != here}

    def refuse_covered(self) -> None:
        """Refuse to disconnect a disk that is still mounted below another mount: unwritten data would be lost.

        Raises:
            PreconditionFailed: the volume is covered by a mount that this driver does not unmount.
        """
        for item in self.own:
            above = (other for other in self.table[self.table.index(item) + 1 :] if other.target == item.target)
            if other := next((other for other in above if other not in self.own), None):
                raise PreconditionFailed(
                    f"volume {self.record.volume_id} is still mounted at {item.target}, below {other.fs_type} from {other.source}; "
                    "unmount that first"
                )


def observe(record: StageRecord, *, lost: str | None = None) -> Observation:
    """Observe the volume.

    Args:
        lost: a fresh result of `health.lost` or `health.device_problem` for its device; "" means that the device is here.
    """
    table = mounts.table()
    device = record.device if lost == "" or not is_reassigned(record) else None
    content = device
    if record.mapping:
        content = None if is_another_device(record) else record.content
    if content is None:
        return Observation(record, table, device)
    own = mounts.by_device(content.path, among=table)
    if view := read_only_view(record):
        own += mounts.by_device(view, among=table)
    return Observation(record, table, device, content, own=own, view=view)


def require_reached(here: Mount, table: Sequence[Mount]) -> None:
    """Check that the path of a mount leads to it. Otherwise a bind mount or a measurement would reach other files.

    Raises:
        HostError: a later mount hides it; the message names both.
    """
    if cover := mounts.cover_of(here, among=table):
        raise HostError(mounts.hidden(here, cover))


def require_none_below(path: str, table: Sequence[Mount]) -> None:
    """Raises AlreadyExists when a mount at the path would hide others below it."""
    if below := [item.target for item in table if item.target.startswith(f"{path}/")]:
        raise AlreadyExists("staging path", path, f"a mount there would hide {', '.join(below)}")


def read_only_view(record: StageRecord) -> str:
    """The loop device that shows the volume's content read-only, or ""."""
    device = record.content
    if device is None or not record.capability.is_block:
        return ""
    return devices.find_attached(device.path, read_only=True) or ""


def detach_read_only_view(record: StageRecord) -> None:
    """Detach the device that `read_only_view` finds. Raises HostError: it is in use."""
    if record.content and record.capability.is_block:
        devices.detach_from(record.content.path, read_only=True)


def is_another_device(record: StageRecord, *, answers: bool = True) -> bool:
    """Whether the path of the volume's content is now another device, or none. Its mounts then do not belong to the volume.

    Args:
        answers: whether the volume's share answers. If not, the share is not contacted (see `identities.shows`).
    """
    device = record.content
    if device and not answers and not record.mapping:
        return not devices.is_block_device(device.path) or not identities.shows(device.path, device.file)
    return _is_another(device)


def is_reassigned(record: StageRecord) -> bool:
    """Whether the path of the connected device is now another device, or none."""
    return _is_another(record.device)


def _is_another(device: Device | None) -> bool:
    if device is None or not devices.is_block_device(device.path):
        return True
    try:
        return devices.identity(device.path) != device.wwid
    except HostError:
        return True


def identity(here: Mount, record: StageRecord | None = None) -> str:
    """The identity of the block device behind a mount (`devices.identity`); "" if there is none or it has no identity.

    Args:
        record: the likely volume, given if its share does not respond. The share is then not contacted.
    """
    with contextlib.suppress(HostError):
        device = mounts.device_path(here)
        known = record.device if record else None
        if device and known and identities.shows(device, known.file):
            return known.wwid
        return devices.identity(device) if device else ""
    return ""


def is_own(records: StageRecords, record: StageRecord, here: Mount, *, name: str | None = None) -> bool:
    """Whether a mount belongs to this volume: it has the volume's device, or the device at the recorded path. The latter
    counts even if its identity has changed, unless it is now another volume of this node.

    Args:
        name: a fresh result of `identity` for the mount.
    """
    device = record.content
    if device is None:
        return False
    name = identity(here) if name is None else name
    if name and name == device.wwid:
        return True
    with contextlib.suppress(HostError):
        return here in mounts.by_device(device.path, among=(here,)) and not records.owner_of(
            name, other_than=record.volume_id
        )
    return False


def unmount_own(
    records: StageRecords, record: StageRecord, path: str, *, recorded: bool = True, seen: Observation | None = None
) -> Mount | None:
    """Unmount the volume from a path, layer by layer. A foreign mount stays and is returned.

    Args:
        recorded: the record names this path. A mount whose device is gone, so that it cannot be compared, then counts as the
            volume's.
        seen: an observation made since the last change.

    Raises:
        HostError: the mount is in use or cannot be unmounted.
    """
    own = seen.own if seen else ()
    table = seen.table if seen else mounts.table()
    while here := mounts.uppermost(path, table):
        if not (here in own or is_own(records, record, here) or (recorded and mounts.is_dead(here))):
            return here
        table = mounts.unmount_uppermost(path, seen=here)
    return None


def require_free(records: StageRecords, connection: Connection) -> None:
    """Check that no other working volume uses an address of this connection. Connecting or disconnecting would affect it.

    An address is free if the array has reassigned it: the device there has another identity or does not respond.

    Raises:
        HostError: another volume uses the address; names it.
    """
    wanted = addresses_of(connection)
    for other in records.others(connection.volume_id):
        device = other.device
        if device is None or not device.wwid or wanted.isdisjoint(addresses_of(other.connection)):
            continue  # without an identity it could not be compared
        if not (health.device_problem(device) or health.replaced(device)):
            raise taken(device, other.volume_id)


def taken(device: Device, owner: str) -> HostError:
    return HostError(
        f"{device.path} ({device.wwid}) belongs to volume {owner}, which is staged here; it was not touched"
    )


def make_writable(record: StageRecord) -> None:
    """Make a device writable again after a read-only stage; the device may outlive the connection."""
    if record.connection.read_only and record.device and not is_reassigned(record):
        with contextlib.suppress(HostError):
            devices.set_read_only(record.device.path, False)
