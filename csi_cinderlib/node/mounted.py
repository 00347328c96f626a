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
    """The volume's key in the node's locks, apart from the controller's when both share a process."""
    return f"node:{volume_id}"


def path_key(path: str) -> str:
    """The key of a resolved path in the node's locks: two volumes are never mounted or unmounted at one path at once."""
    return f"node-path:{path}"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call sees of a volume on this node. It is read once, and again only after something was changed.

    Attributes:
        table: every mount.
        is_here: the recorded path of the device leads to that very device.
        own: the mounts of the volume's device, and of its read-only view, those below another mount too; none while it is not here.
        view: see `read_only_view`.
    """

    record: StageRecord
    table: tuple[Mount, ...]
    is_here: bool
    own: tuple[Mount, ...] = ()
    view: str = ""

    def at(self, path: str) -> Mount | None:
        """The uppermost mount on exactly this path."""
        return mounts.uppermost(path, self.table)

    def visible(self) -> Mapping[str, Mount]:
        """Those of `own` that are uppermost at their path, by path."""
        uppermost = {item.target: item for item in self.table}
        return {item.target: item for item in self.own if uppermost[item.target] == item}

    def places(self) -> tuple[Mount | None, Mapping[str, Mount]]:
        """The mount at the staging path, if it shows the volume's own device, and by path where else the volume is visible.

        Raises:
            HostError: another mount hides the former (see `require_reached`).
        """
        seen = self.visible()
        here = self.at(self.record.staging_path)
        if here is None or seen.get(here.target) != here:
            return None, seen
        require_reached(here, self.table)
        return here, {path: item for path, item in seen.items() if item != here}

    def refuse_covered(self) -> None:
        """A disk may go although it is mounted, and with it what its file system has not written yet.

        Raises:
            PreconditionFailed: the volume is mounted below something else, which this driver does not unmount.
        """
        for item in self.own:
            above = (other for other in self.table[self.table.index(item) + 1 :] if other.target == item.target)
            if other := next((other for other in above if other not in self.own), None):
                raise PreconditionFailed(
                    f"volume {self.record.volume_id} is still mounted at {item.target}, below {other.fs_type} from {other.source}: "
                    "unmount that first"
                )


def observe(record: StageRecord, *, lost: str | None = None) -> Observation:
    """Look at the volume once.

    Args:
        lost: what `health.lost` or `health.device_problem` said of its device a moment ago: "" says that it is here.
    """
    table = mounts.table()
    device = record.device
    if device is None or (lost != "" and is_another_device(record)):
        return Observation(record, table, is_here=False)
    own = mounts.by_device(device.path, among=table)
    if view := read_only_view(record):
        own += mounts.by_device(view, among=table)
    return Observation(record, table, is_here=True, own=own, view=view)


def require_reached(here: Mount, table: Sequence[Mount]) -> None:
    """See that the path of a mount leads to it: a bind, or a question about the path, would reach somebody else's files.

    Raises:
        HostError: a later mount above it hides it; the message names both.
    """
    if cover := mounts.cover_of(here, among=table):
        raise HostError(mounts.hidden(here, cover))


def require_none_below(path: str, table: Sequence[Mount]) -> None:
    """Raises AlreadyExists when a mount at the path would hide others below it."""
    if below := [item.target for item in table if item.target.startswith(f"{path}/")]:
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


def is_another_device(record: StageRecord, *, answers: bool = True) -> bool:
    """Whether the path in the record is another device by now, or none: then its mounts are not ours.

    Args:
        answers: whether the volume's share does; else it is not asked (see `identities.shows`).
    """
    device = record.device
    if device is None or not devices.is_block_device(device.path):
        return True
    if not answers:
        return not identities.shows(device.path, device.file)
    try:
        return devices.identity(device.path) != device.wwid
    except HostError:
        return True


def identity(here: Mount, record: StageRecord | None = None) -> str:
    """What the block device behind a mount is (`devices.identity`); "" when there is none, or it does not tell.

    Args:
        record: of a volume that it probably is, and whose share does not answer: then the share is not asked.
    """
    with contextlib.suppress(HostError):
        device = mounts.device_path(here)
        known = record.device if record else None
        if device and known and identities.shows(device, known.file):
            return known.wwid
        return devices.identity(device) if device else ""
    return ""


def is_own(records: StageRecords, record: StageRecord, here: Mount, *, name: str | None = None) -> bool:
    """Whether a mount shows this volume: its device, under whatever path; or the device under the recorded path, although it
    says by now that it is another one, unless that is another volume of this node.

    Args:
        name: what `identity` said of the mount a moment ago.
    """
    device = record.device
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
    """Unmount the volume from a path, layer by layer. What else is mounted there stays, and is returned.

    Args:
        recorded: the record says that the volume is, or was, mounted there. Only then a mount whose device is gone, so that
            it can no longer be compared, counts as the volume's.
        seen: what was observed since the last change.

    Raises:
        HostError: in use, or it cannot be unmounted.
    """
    own = seen.own if seen else ()
    table = seen.table if seen else mounts.table()
    while here := mounts.uppermost(path, table):
        if not (here in own or is_own(records, record, here) or (recorded and mounts.is_dead(here))):
            return here
        table = mounts.unmount_uppermost(path, seen=here)
    return None


def require_free(records: StageRecords, connection: Connection) -> None:
    """See that no other volume works here at an address of this connection: to connect or to undo it would change what that one needs.

    An address that the array gave away since is free: the device there answers as another one, or not at all.

    Raises:
        HostError: one does; names it.
    """
    wanted = addresses_of(connection)
    for other in records.others(connection.volume_id):
        device = other.device
        if device is None or not device.wwid or wanted.isdisjoint(addresses_of(other.connection)):
            continue  # one without a name would always seem to be what it was
        if not (health.device_problem(device) or health.replaced(device)):
            raise taken(device, other.volume_id)


def taken(device: Device, owner: str) -> HostError:
    return HostError(f"{device.path} ({device.wwid}) is volume {owner}, which is staged here: not touched")


def make_writable(record: StageRecord) -> None:
    """Undo what a read-only stage did to a device that may stay when the volume is disconnected."""
    if record.connection.read_only and record.device and not is_another_device(record):
        with contextlib.suppress(HostError):
            devices.set_read_only(record.device.path, False)
