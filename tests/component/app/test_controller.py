"""How the controller's half of a process ends."""

from __future__ import annotations

import threading
from pathlib import Path

from csi_cinderlib.app.controller import ControllerSide
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.leadership import Leadership
from csi_cinderlib.app.persist import Stopping
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.persistence.lease import Lease, StoredLease
from csi_cinderlib.persistence.memory import MemoryStore


def test_a_lease_is_released_although_a_look_for_orphans_is_under_way(tmp_path: Path) -> None:
    """It ends soon, since no driver is at work any more; another controller would have to wait for the lease to run out."""
    settings, stopping, store = Settings(state_dir=tmp_path), Stopping(), MemoryStore()
    side = ControllerSide(settings, stopping, Keys(settings), Readiness())
    record = StoredLease(store, store)
    side._leadership = Leadership(Lease(record, "me"))
    assert side._leadership.wait(stopping, Readiness())
    assert side._settling.acquire()
    threading.Timer(0.3, side._settling.release).start()
    side.close()
    assert record.read().holder == ""
