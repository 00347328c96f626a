"""What `explain` brings together from the store and from the running driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from csi_cinderlib.inspection.diagnosis import diagnose
from csi_cinderlib.inspection.explaining import Sources, observe
from csi_cinderlib.inspection.observed import BackendState
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.memory import open_store

VOLUME = Volume(id="v1", name="pvc-1", backend="array", size=GiB(1), status=Status.AVAILABLE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store({}, state_dir=tmp_path, sealer=None)
    store.add(VOLUME)
    return store


def sources(store: Store, state_dir: Path, backend: BackendState) -> Sources:
    @contextmanager
    def opened() -> Iterator[tuple[Store, Store]]:
        yield store, store

    return Sources(
        cluster=lambda: None,
        store=opened,
        backends=lambda _store: [backend],
        leftover=lambda _store, _id: "",
        state_dir=state_dir,
        driver_name="csi.cinderlib.io",
        node_name="worker-1",
    )


@pytest.mark.parametrize(
    ("state", "reason", "unseen"),
    [
        ("ready", "", None),
        ("unknown", "process 7 did not respond within 10 s", "process 7 did not respond within 10 s"),
        ("unknown", "", "its state is unknown"),
    ],
)
def test_a_back_end_that_cannot_be_asked_is_not_seen(
    store: Store, tmp_path: Path, state: str, reason: str, unseen: str | None
) -> None:
    backend = BackendState(name="array", state=state, reason=reason)
    seen = observe("v1", sources(store, tmp_path, backend), datetime.now(UTC))
    assert seen.unseen.get("back end") == unseen
    assert ("back end" in diagnose(seen)[0].next_step) == bool(unseen)
