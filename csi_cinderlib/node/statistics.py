"""NodeGetVolumeStats: usage and condition of a volume."""

from __future__ import annotations

import threading

from csi_cinderlib.errors import HostError, NoAnswer, NotFound, OperationPending
from csi_cinderlib.host import devices, filesystems
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.model.requests import Condition, NodeStats, Usage
from csi_cinderlib.node import encryption, file_system, health, mounted
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.node.stage_records import StageRecords

_FINE = Condition(abnormal=False, message="the device answers")


class Statistics:
    """Measures published volumes. Takes no lock, so other calls may use the volume at the same time."""

    def __init__(self, records: StageRecords, *, paths: Paths | None = None, calls: Calls | None = None) -> None:
        self._records = records
        self._paths = paths or Paths()
        self._calls = calls or Calls(records)
        self._last: dict[str, NodeStats] = {}
        self._guard = threading.Lock()

    def stats(self, volume_id: str, volume_path: str, staging_path: str = "") -> NodeStats:
        """Bytes and inodes of a mounted volume, or the size of a block volume; and the volume's condition.

        A volume that does not work or does not respond has an abnormal condition; that is not an error.

        Raises:
            NotFound: the volume is not on this node, or not at that path.
            InvalidRequest: a path contains a symbolic link or is not below the kubelet's directory.
            NoAnswer: the volume hangs, and the records do not name the path.
            OperationPending: many calls wait for the volume's source, and there is no earlier measurement.
        """
        record = self._records.find(volume_id)
        if record is None or record.device is None:
            self._remember(volume_id, None)
            raise NotFound("volume", volume_id)
        try:
            stats = self._calls.look(
                record, (volume_path, staging_path), lambda: self._measure(record, volume_path, staging_path)
            )
        except NoAnswer as error:
            if not _is_recorded(volume_path, record):
                raise
            last = self._last.get(volume_id)
            return NodeStats(
                usage=last.usage if last else _size(record), condition=Condition(abnormal=True, message=str(error))
            )
        except OperationPending:
            last = self._last.get(volume_id)
            if not last or not _is_recorded(volume_path, record):
                raise
            return last
        self._remember(volume_id, stats)
        return stats

    def _remember(self, volume_id: str, stats: NodeStats | None) -> None:
        with self._guard:
            if stats and stats.usage:
                self._last[volume_id] = stats
            else:
                self._last.pop(volume_id, None)

    def _measure(self, record: StageRecord, volume_path: str, staging_path: str) -> NodeStats:
        assert record.device
        if staging_path and self._paths.resolve(staging_path, "staging_target_path") != record.staging_path:
            raise NotFound("staging path", staging_path)
        volume_path = self._paths.locate(volume_path, "volume_path")
        problem = health.device_problem(record.device) or encryption.problem(record)
        seen = mounted.observe(record, lost=problem)
        if not is_shown_at(volume_path, seen):
            raise NotFound("volume path", volume_path)
        problem = problem or self._problem(record, seen.at(volume_path))
        condition = Condition(abnormal=True, message=problem) if problem else _FINE
        return NodeStats(usage=_usage(record, volume_path), condition=condition)

    def _problem(self, record: StageRecord, mount: Mount | None) -> str:
        device = record.content
        assert device
        problem = health.read_problem(device.path)
        if not problem and mount and not record.capability.is_block:
            read_only = file_system.is_read_only(record)
            problem = health.mount_problem(mount, read_only=read_only) or health.errors_noted(device.path)
        return problem


def is_shown_at(path: str, seen: mounted.Observation) -> bool:
    """Whether the volume is staged or published at a resolved path. Raises HostError if another mount hides it."""
    record = seen.record
    if record.capability.is_block and path == record.staging_path:
        return True
    here = seen.at(path)
    if here is None:
        return False
    if seen.content is None:
        # The device is gone, so the mount table cannot be matched with it; use the record.
        return path == record.staging_path or record.publication(path) is not None
    if seen.visible().get(here.target) != here:
        return False
    mounted.require_reached(here, seen.table)
    return True


def _is_recorded(path: str, record: StageRecord) -> bool:
    return path == record.staging_path or record.publication(path) is not None


def _size(record: StageRecord) -> tuple[Usage, ...]:
    """The recorded size. The kubelet ignores a condition without usage."""
    return (Usage(unit="bytes", total=record.connection.size),)


def _usage(record: StageRecord, path: str) -> tuple[Usage, ...]:
    device = record.content
    if device is None:
        return _size(record)
    try:
        if record.capability.is_block:
            return (Usage(unit="bytes", total=devices.size(device.path)),)
        return filesystems.usage(path)
    except HostError:
        return ()
