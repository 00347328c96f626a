"""What a node does with its stage records when it starts: after a crash, a kill or a reboot."""

from __future__ import annotations

import enum
import logging
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of the records, by volume id.

    Attributes:
        kept: staged and in use, or waiting for the retry that goes on where the crash was.
        cleaned: nobody can ask for it any more: taken down and forgotten.
        failed: could not be taken down now; a later start, or NodeUnstageVolume, tries again.
        corrupt: cannot be read; those volumes alone fail until a person looks at the file.
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
    """Go through all records once. Never unmounts anything, and never gives up a device that is in use.

    Calls may be served meanwhile: each record is read again once its volume is locked.

    Args:
        wait: seconds for one volume. What takes longer goes on, and counts as failed.
    """
    calls = calls or Calls(records)
    every = records.all()
    volumes: dict[_Outcome, list[str]] = {outcome: [] for outcome in _Outcome}
    for volume_id in (record.volume_id for record in every.records):
        volumes[_settle(volume_id, records, staging, locks, calls, wait)].append(volume_id)
    records.forget_old_marks(time.time())
    for problem in every.corrupt:
        _log.error("%s", problem)
    kept, cleaned, failed = (tuple(volumes[item]) for item in (_Outcome.KEPT, _Outcome.CLEANED, _Outcome.FAILED))
    return Reconciled(kept, cleaned, failed, tuple(error.id for error in every.corrupt))


def _settle(
    volume_id: str, records: StageRecords, staging: Staging, locks: KeyedLocks, calls: Calls, wait: float
) -> _Outcome:
    """One volume. Whatever happens to it is no business of the others."""

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
        _log.info("volume %s: taken down, nobody stages it any more (%s)", volume_id, record.state)
        return _Outcome.CLEANED

    try:
        return calls.carry_out(volume_id, work, wait=wait)
    except DriverError as error:
        _log.warning("volume %s: cannot be taken down: %s", volume_id, error)
    except Exception:  # a bug that meets one record must not keep the node from the others
        _log.exception("volume %s: cannot be taken down", volume_id)
    return _Outcome.FAILED


def is_orphan(record: StageRecord) -> bool:
    """Whether nothing uses the volume and nobody will ask for it: its staging path, which the caller makes and removes, is
    gone; or staging never came as far as the device's content. One that was being formatted is kept: its retry needs it.
    """
    seen = mounted.observe(record)
    if seen.at(record.staging_path) or seen.visible():
        return False
    if record.state in (State.INTENT, State.CONNECTED):
        return True
    return record.state is State.STAGED and not _exists(record.staging_path)


def _exists(path: str) -> bool:
    """Raises HostError: nobody can tell, since the file system there is dead, say."""
    with kernel.named(f"looking for {path}"):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True
