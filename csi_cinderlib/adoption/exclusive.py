"""One adoption or rollback at a time writes to a store. It holds a lease of its own beside that of the controller, which may run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi_cinderlib.errors import DriverError, PreconditionFailed
from csi_cinderlib.model.ids import random_hex
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.lease import TIMING, Lease, LeasedStore, StoredLease, Timing

KEY = f"{OWN_KEYS}adoption-lease"
"""The id of the key-value that contains the lease."""


@contextmanager
def held(store: Store, timing: Timing = TIMING) -> Iterator[Store]:
    """The store, for the only run that may write to it. After a killed run this waits until its lease has expired.

    Raises:
        PreconditionFailed: another run writes to the store.
        LeaseLost: by the store, if the lease could not be renewed.
    """
    if not store.traits.shared:  # it is locked already
        yield store
        return
    lease = Lease(StoredLease(store, store, KEY), f"adoption-{random_hex(12)}", timing=timing)
    _acquire(lease)
    ended = threading.Event()
    renewals = threading.Thread(target=_renew, args=(lease, ended), daemon=True)
    renewals.start()
    try:
        yield LeasedStore(store, lease.check)
    finally:
        ended.set()
        renewals.join()
        _release(store, lease)


def _acquire(lease: Lease) -> None:
    until = time.monotonic() + lease.timing.duration + 2 * lease.timing.look
    while not lease.acquire():
        if time.monotonic() > until:
            raise PreconditionFailed(
                f"another run of `csi-cinderlib adopt` writes to this store ({lease.holder}); wait until it has ended"
            )
        time.sleep(lease.next_look())


def _renew(lease: Lease, ended: threading.Event) -> None:
    wait = lease.timing.renew
    while not ended.wait(wait):
        try:
            lease.renew()
            wait = lease.timing.renew
        except DriverError:  # the store refuses writes when the deadline has passed
            wait = lease.timing.retry


def _release(store: Store, lease: Lease) -> None:
    """Release the lease, and remove its record unless another run has it already."""
    lease.release()
    with suppress(DriverError):
        record = store.get(KeyValue, KEY)
        if '"holder": ""' in record.value:
            store.remove(record)
