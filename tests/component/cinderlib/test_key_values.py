"""Key-values keep their types, in each store and with each plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import KeyValue, Library
from csi_cinderlib.model import records
from tests.component.cinderlib.conftest import storage
from tests.support.fakes.cinderlib_plugins import PLUGINS, closing


@pytest.fixture(params=["memory", "db", *PLUGINS])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    plugin = PLUGINS[request.param](tmp_path) if request.param in PLUGINS else None
    config = {"storage": plugin} if plugin else storage(request.param, tmp_path)
    with closing(plugin):
        made = Library(persistence_config=config)
        yield made
        made.close()


@pytest.mark.parametrize(
    "value", ["text", "", 5, True, None, 1.5, {"x": [1, {"y": None}]}, ["l"], "csi-cinderlib.json:{"]
)
@pytest.mark.parametrize("key", ["k", 7])
def test_a_key_value_keeps_its_type(library: Library, key: Any, value: Any) -> None:
    library.persistence.set_key_value(KeyValue(key, value))
    (found,) = library.persistence.get_key_values(key)
    assert (found.key, found.value, type(found.value)) == (key, value, type(value))
    assert library.persistence.get_key_values() == [found]
    library.persistence.delete_key_value(KeyValue(key))
    assert library.persistence.get_key_values(key) == []


def test_a_key_value_keeps_its_type_in_a_database(tmp_path: Path) -> None:
    library = Library(persistence_config={"storage": "sql"}, state_dir=tmp_path)
    for key, value in (("a", {"x": 5}), (7, None), ("t", "text")):
        library.persistence.set_key_value(KeyValue(key, value))
        assert library.persistence.get_key_values(key) == [KeyValue(key, value)]
    assert library.store.get(records.KeyValue, "t").value == "text"
    library.close()


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("k", b"bytes", "value: must be text or another JSON value .got bytes"),
        ("k", {1: "x"}, "value: must be text or another JSON value .got dict"),
        ("k", float("nan"), "value: must be"),
        ("k", (1, 2), "value: .* encode it as text"),
        (None, "x", "key: must not be None"),
        (b"k", "x", "key: must be"),
    ],
)
def test_a_key_value_that_json_would_change_is_refused_by_name(
    library: Library, key: Any, value: Any, problem: str
) -> None:
    with pytest.raises(errors.InvalidRequest, match=problem):
        library.persistence.set_key_value(KeyValue(key, value))
    assert library.persistence.get_key_values() == []


def test_a_stored_value_of_another_program_that_looks_typed_is_read_as_text(library: Library) -> None:
    library.store.add(records.KeyValue(id="k", value="csi-cinderlib.json:nonsense"))
    assert library.persistence.get_key_values("k") == [KeyValue("k", "csi-cinderlib.json:nonsense")]
