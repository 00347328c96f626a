from __future__ import annotations

import sys
from pathlib import Path

import pytest

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.plugins import known, open_store

SAMPLE = '''
"""A whole plugin: records in a dict of files' texts would do as well; here the memory store under another name."""

from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import check_options


def open_store(options, *, state_dir, sealer):
    check_options(options, ("colour",))
    (state_dir / "opened").write_text(options.get("colour", "none"))
    return MemoryStore(sealer)
'''


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution as pip would install it, with entry points of its own."""
    site = tmp_path / "site"
    info = site / "sample_store-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sample_store.py").write_text(SAMPLE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[csi_cinderlib.persistence]\n"
        "sample = sample_store:open_store\n"
        "without-function = sample_store:absent\n"
        "without-package = absent_package:open_store\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "sample_store", raising=False)
    return tmp_path / "state"


def test_a_plugin_of_somebody_else_is_found_by_its_entry_point(sample: Path) -> None:
    assert "sample" in known()
    store = open_store("sample", {"colour": "blue"}, state_dir=sample)
    stored = store.add(KeyValue(id="a", value="b"))
    assert store.get(KeyValue, "a") == stored
    assert (sample / "opened").read_text() == "blue"


def test_its_own_options_are_checked_too(sample: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"store\.options\.color: unknown option of this plugin; supported: colour"
    ):
        open_store("sample", {"color": "blue"}, state_dir=sample)


@pytest.mark.parametrize(("plugin", "message"), [("without-function", "absent"), ("without-package", "absent_package")])
def test_a_plugin_that_cannot_be_loaded_says_why(sample: Path, plugin: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"store\.plugin: .*plugin '{plugin}'.*{message}"):
        open_store(plugin, state_dir=sample)


def test_an_unknown_plugin_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"unsupported plugin 'etcd'; installed: .*memory, sql, stateless"):
        open_store("etcd", state_dir=tmp_path)


@pytest.mark.parametrize("plugin", ["memory", "sql", "stateless"])
def test_a_misspelt_option_is_refused(tmp_path: Path, plugin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.options\.ulr: unknown option"):
        open_store(plugin, {"ulr": "x"}, state_dir=tmp_path)
