"""NodeExpandVolume: grow the device and the file system to the volume's new size."""

from __future__ import annotations

from dataclasses import replace

from csi_cinderlib.brick.initiator import Initiator
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound, OutOfRange, PreconditionFailed
from csi_cinderlib.host import devices, filesystems
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.model.requests import NodeExpandVolume
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.node import encryption, file_system, health, mounted
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.statistics import is_shown_at
from csi_cinderlib.pages import ERRORS_PAGE


class Expansion:
    """Grows staged volumes, mounted or not."""

    def __init__(
        self,
        records: StageRecords,
        initiator: Initiator,
        locks: KeyedLocks,
        paths: Paths | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._records = records
        self._initiator = initiator
        self._locks = locks
        self._paths = paths or Paths()
        self._calls = calls or Calls(records)

    def expand(self, request: NodeExpandVolume) -> Bytes:
        """Rescan all paths, check the size, grow the file system.

        Returns:
            The actual size of the volume. The device that an encrypted volume shows is smaller by its header.

        Raises:
            NotFound: the volume is not on this node, or not at that path.
            InvalidRequest: the path contains a symbolic link or is not below the kubelet's directory.
            OutOfRange: the volume is smaller than requested, or larger than the limit; it is never shrunk.
            OperationPending: another call uses this volume.
            PreconditionFailed: an error has stopped the file system.
            HostError: the device does not show the requested size yet (a failed path is named), or growing failed.
            NoAnswer: the volume's share does not respond; nothing was started.
        """
        return self._calls.carry_out(request.volume_id, lambda: self._expand(request))

    def _expand(self, request: NodeExpandVolume) -> Bytes:
        with self._locks.hold(mounted.key(request.volume_id)):
            record = self._records.find(request.volume_id)
            if record is None or record.device is None:
                raise NotFound("volume", request.volume_id)
            seen = mounted.observe(record)
            if not is_shown_at(self._paths.locate(request.volume_path, "volume_path"), seen):
                raise NotFound("volume path", request.volume_path)
            size = self._initiator.extend(record.connection, record.device, expected=request.size.required)
            if request.size.limit and size > request.size.limit:
                raise OutOfRange(
                    "capacity_range.limit_bytes",
                    f"must be at least {size}, the current size of volume {request.volume_id}",
                )
            if size > record.connection.size:
                record = self._records.save(replace(record, connection=replace(record.connection, size=size)))
            encryption.grow(record)
            self._refresh_view(record)
            if not record.capability.is_block:
                self._grow_file_system(record, seen)
            return size

    def _refresh_view(self, record: StageRecord) -> None:
        if view := mounted.read_only_view(record):
            devices.refresh_size(view)

    def _grow_file_system(self, record: StageRecord, seen: mounted.Observation) -> None:
        device = record.content
        if device is None or file_system.is_read_only(record):
            return
        # The file system can grow through any of its mounts, in case the staging mount is gone.
        staged, targets = seen.places()
        if here := staged or next(iter(targets.values()), None):
            _refuse_stopped(record, here)
            filesystems.grow(device.path, here.target)


def _refuse_stopped(record: StageRecord, here: Mount) -> None:
    """Raises PreconditionFailed if an error has stopped the file system. It cannot grow, and its tools do not give the cause."""
    if problem := health.mount_problem(here, read_only=False):
        raise PreconditionFailed(
            f"cannot grow volume {record.volume_id}: {problem}. Delete the pods on this node that use the volume; it is then "
            f"unstaged, and checked and grown when it is staged again. See {ERRORS_PAGE}"
        )
