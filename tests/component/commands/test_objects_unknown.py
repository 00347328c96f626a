"""Commands while the API server cannot be reached: a back end that an object may configure is unknown, not unconfigured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.app import repairing
from csi_cinderlib.commands import backend_rows
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.plugins import open_store


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """In a cluster by configuration, without access to one."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return Settings(state_dir=tmp_path, kubernetes=True)


def test_get_back_ends_says_that_objects_are_not_known(settings: Settings, tmp_path: Path) -> None:
    store = open_store("memory", {}, state_dir=tmp_path)
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    (row,) = backend_rows.rows(settings, store)
    store.close()
    assert (row["name"], row["state"], row["volumes"]) == ("array", "unknown", 1)
    assert row["reason"].startswith("back ends of objects are not known: ")


def test_orphans_are_not_fixed_as_if_their_back_end_were_not_configured(settings: Settings, tmp_path: Path) -> None:
    file = BackendSettings(name="filed", driver="x.Driver")
    settings = replace(settings, backends=(file,))
    store = open_store("memory", {}, state_dir=tmp_path)
    with pytest.raises(StoreUnavailable, match="back ends of objects are not known, so not of 'array' either: "):
        repairing._configured(settings, store, {"filed", "array"})
    assert repairing._configured(settings, store, {"filed"}) == (file,)
    store.close()
