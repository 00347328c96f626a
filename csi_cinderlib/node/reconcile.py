"""Clean-up of the stage records at the start of a node: after a crash, a kill or a reboot."""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import DriverError, OperationPending
from csi_cinderlib.host import kernel
from csi_cinderlib.host.patience import WAIT_SECONDS
from csi_cinderlib.node import mounted
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.staging import Staging
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The results, by volume id.

    Attributes:
        kept: in use, or waiting for the retry that continues an interrupted call.
        cleaned: orphaned; taken down, and the record removed.
        failed: could not be taken down; a later start or NodeUnstageVolume retries.
        corrupt: unreadable records; calls for these volumes fail until an operator repairs or removes the file.
    """

    kept: tuple[str, ...] = ()
    cleaned: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()


class _Outcome(enum.Enum):
    KEPT = enum.auto()
    CLEANED = enum.auto()
    FAILED = enum.auto()
    GONE = enum.auto()


def reconcile(
    records: StageRecords,
    staging: Staging,
    locks: KeyedLocks,
    calls: Calls | None = None,
    *,
    wait: float = WAIT_SECONDS,
) -> Reconciled:
    """Process all records once. Nothing is unmounted, and no device in use is disconnected.

    Calls may be served at the same time: each record is read again under its volume's lock.

    Args:
        wait: seconds for each volume. Work that takes longer continues and counts as failed.
    """
    calls = calls or Calls(records)
    every = records.all()
    volumes: dict[_Outcome, list[str]] = {outcome: [] for outcome in _Outcome}
    for volume_id in (record.volume_id for record in every.records):
        volumes[_settle(volume_id, records, staging, locks, calls, wait)].append(volume_id)
    records.forget_old_marks(time.time())
    for problem in every.corrupt:
        _log.error("stage record unreadable", volume=problem.id, reason=str(problem))
    kept, cleaned, failed = (tuple(volumes[item]) for item in (_Outcome.KEPT, _Outcome.CLEANED, _Outcome.FAILED))
    return Reconciled(kept, cleaned, failed, tuple(error.id for error in every.corrupt))


def _settle(
    volume_id: str, records: StageRecords, staging: Staging, locks: KeyedLocks, calls: Calls, wait: float
) -> _Outcome:
    """Process one volume. A failure does not affect the others."""

    def work() -> _Outcome:
        try:
            with locks.hold(mounted.key(volume_id)):
                record = records.find(volume_id)
                if record is None:
                    return _Outcome.GONE
                if not is_orphan(record):
                    return _Outcome.KEPT
                staging.take_down(record)
        except OperationPending:
            return _Outcome.KEPT
        _log.info("orphaned volume taken down", volume=volume_id, state=str(record.state))
        return _Outcome.CLEANED

    try:
        return calls.carry_out(volume_id, work, wait=wait)
    except DriverError as error:
        _log.warning("orphaned volume not taken down", volume=volume_id, reason=str(error))
    except Exception as error:  # an unexpected error with one record must not affect the others
        _log.exception("orphaned volume not taken down", error, volume=volume_id)
    return _Outcome.FAILED


def is_orphan(record: StageRecord) -> bool:
    """Whether the volume is unused and no call for it is expected: its staging path, which the caller owns, is gone, or
    staging ended before the device's content was known. An interrupted creation has its mark on the device, so its record is not needed.
    """
    seen = mounted.observe(record)
    if seen.at(record.staging_path) or seen.visible():
        return False
    if record.state in (State.INTENT, State.CONNECTED):
        return True
    return record.state is State.STAGED and not _exists(record.staging_path)


def _exists(path: str) -> bool:
    """Raises HostError if the path cannot be examined, for example on a dead file system."""
    with kernel.named(f"cannot check for {path}"):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True
