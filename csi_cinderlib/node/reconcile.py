"""What a node does with its stage records when it starts: after a crash, a kill or a reboot."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import DriverError, OperationPending
from csi_cinderlib.node import mounted
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


def reconcile(records: StageRecords, staging: Staging, locks: KeyedLocks) -> Reconciled:
    """Go through all records once. Never unmounts anything, and never gives up a device that is in use.

    Calls may be served meanwhile: each record is read again once its volume is locked.
    """
    kept, cleaned, failed = [], [], []
    every = records.all()
    for volume_id in (record.volume_id for record in every.records):
        try:
            with locks.hold(mounted.key(volume_id)):
                record = records.find(volume_id)
                if record is None:
                    continue
                if not is_orphan(record):
                    kept.append(volume_id)
                    continue
                staging.take_down(record)
            _log.info("volume %s: taken down, nobody stages it any more (%s)", volume_id, record.state)
            cleaned.append(volume_id)
        except OperationPending:
            kept.append(volume_id)
        except DriverError as error:
            _log.warning("volume %s: cannot be taken down: %s", volume_id, error)
            failed.append(volume_id)
    records.forget_old_marks(time.time())
    for problem in every.corrupt:
        _log.error("%s", problem)
    return Reconciled(tuple(kept), tuple(cleaned), tuple(failed), tuple(error.id for error in every.corrupt))


def is_orphan(record: StageRecord) -> bool:
    """Whether nothing uses the volume and nobody will ask for it: its staging path, which the caller makes and removes, is
    gone; or staging never came as far as the device's content. One that was being formatted is kept: its retry needs it.
    """
    seen = mounted.observe(record)
    if seen.at(record.staging_path) or seen.visible():
        return False
    if record.state in (State.INTENT, State.CONNECTED):
        return True
    return record.state is State.STAGED and not Path(record.staging_path).exists()
