"""The back ends of a controller in Kubernetes: the beginning, which is repeated until it succeeds."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.cluster_backends import ClusterBackends
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.persistence.api import Page, R
from csi_cinderlib.persistence.kubernetes.rest import Access
from csi_cinderlib.persistence.memory import MemoryStore


class Silent(MemoryStore):
    def page(self, kind: type[R], **query: Any) -> Page[R]:
        raise StoreUnavailable("no answer")


def test_a_beginning_without_the_store_leaves_no_watches_behind(tmp_path: Path) -> None:
    unreachable = Access(url="http://127.0.0.1:1")
    with ExitStack() as undo:
        with pytest.raises(StoreUnavailable):
            ClusterBackends(Settings(state_dir=tmp_path), unreachable, Silent(), Stopping(), undo, refresh_seconds=5.0)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch-")]
