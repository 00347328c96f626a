"""One adoption or rollback at a time writes to a store that several processes share."""

from __future__ import annotations

import pytest

from csi_cinderlib.adoption import exclusive
from csi_cinderlib.errors import LeaseLost, PreconditionFailed
from csi_cinderlib.model.records import KeyValue, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Traits
from csi_cinderlib.persistence.lease import StoredLease, Timing
from csi_cinderlib.persistence.memory import MemoryStore

QUICK = Timing(duration=0.6, deadline=0.4, renew=0.1, retry=0.05, look=0.05)
VOLUME = Volume(id="v", backend="a", size=GiB(1))


class Shared(MemoryStore):
    traits = Traits(durable=False, shared=True)


def test_a_second_run_is_refused_and_the_lease_is_renewed_meanwhile() -> None:
    store = Shared()
    with exclusive.held(store, QUICK) as mine:
        with (
            pytest.raises(PreconditionFailed, match="another run of `csi-cinderlib adopt` writes to this store"),
            exclusive.held(store, QUICK),
        ):
            pass
        mine.add(VOLUME)
    assert store.page(KeyValue).records == ()
    with exclusive.held(store, QUICK) as mine:
        mine.remove(mine.get(Volume, "v"))


def test_the_lease_of_a_killed_run_expires() -> None:
    store = Shared()
    StoredLease(store, store, exclusive.KEY).write("killed", QUICK.duration, StoredLease(store, store, "x").read())
    with exclusive.held(store, QUICK) as mine:
        mine.add(VOLUME)


def test_a_run_that_has_lost_the_lease_writes_nothing_and_leaves_that_of_the_other() -> None:
    store = Shared()
    with exclusive.held(store, QUICK) as mine:
        lease = StoredLease(store, store, exclusive.KEY)
        lease.write("other", 60, lease.read())
        with pytest.raises(LeaseLost):
            while True:  # until the renewal notices
                mine.replace(mine.add(VOLUME) if not mine.page(Volume).records else mine.get(Volume, "v"))
    assert lease.read().holder == "other"


def test_a_store_that_only_one_process_can_open_needs_no_lease() -> None:
    store = MemoryStore()
    with exclusive.held(store) as mine:
        assert mine is store
