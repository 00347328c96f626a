"""A value of a wrong type is refused with the name of the argument, and an id that could not be deleted again before it is created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Connection, Library, Snapshot, Volume
from csi_cinderlib.cinderlib.persistence.key_values import KeyValue
from csi_cinderlib.model import records
from tests.component.cinderlib.conftest import CONNECTOR, LOOPFILE, NOTHING, Failing, options, storage

Call = Callable[[Any, Any], object]
"""Called with the volume and the wrong value."""
UNTYPED: Any = {"Volume": Volume, "Snapshot": Snapshot, "Connection": Connection}
CALLS: dict[str, tuple[str, Call]] = {
    "Backend": ("volume_backend_name", lambda volume, bad: volume._library.backend(bad, volume_driver=NOTHING)),
    "Volume": ("backend_or_vol", lambda _volume, bad: UNTYPED["Volume"](bad)),
    "pool": ("pool_name", lambda volume, bad: UNTYPED["Volume"](volume.backend, bad or ["x"])),
    "id": ("id", lambda volume, bad: UNTYPED["Volume"](volume.backend, id=bad or {"a": 1})),
    "Snapshot": ("volume", lambda _volume, bad: UNTYPED["Snapshot"](bad)),
    "snapshot id": ("id", lambda volume, bad: UNTYPED["Snapshot"](volume, id=bad or {"a": 1})),
    "Connection": ("backend", lambda _volume, bad: UNTYPED["Connection"](bad, volume_id="v")),
    "Connection.connect": ("volume", lambda _volume, bad: UNTYPED["Connection"].connect(bad, CONNECTOR)),
    "connection's volume": ("volume", lambda volume, bad: UNTYPED["Connection"](volume.backend, volume=bad or {})),
    "library.volume": ("volume_id", lambda volume, bad: volume._library.volume(bad)),
    "library.snapshot": ("snapshot_id", lambda volume, bad: volume._library.snapshot(bad)),
    "library.connection": ("connection_id", lambda volume, bad: volume._library.connection(bad)),
    "load": ("class", lambda volume, bad: volume._library.load(bad)),
    "connect": ("connector_dict", lambda volume, bad: volume.connect(bad)),
    "disconnect": ("connection", lambda volume, bad: volume.disconnect(bad)),
    "revert_to_snapshot": ("snapshot", lambda volume, bad: volume.revert_to_snapshot(bad)),
    "extend": ("size", lambda volume, bad: volume.extend(bad)),
    **{
        f"{verb}_{kind}": (kind, lambda volume, bad, call=f"{verb}_{kind}": getattr(volume._library.persistence, call)(bad))  # type: ignore[misc]  # mypy does not infer defaults of lambdas
        for verb in ("set", "delete")
        for kind in ("volume", "snapshot", "connection", "key_value")
    },
}  # fmt: skip
FILTERS = {
    "get_volumes": ("volume_id", "volume_name", "backend_name"),
    "get_snapshots": ("snapshot_id", "snapshot_name", "volume_id"),
    "get_connections": ("connection_id", "volume_id"),
}
ODD_IDS = ("vö", "日本", "a/b", "../x", "a\nb", "a\x00b", "\udce9", "x" * 201, "🙂")


@pytest.fixture
def volume(fake: Backend) -> Volume:
    return fake.create_volume(1)


@pytest.mark.parametrize("bad", [None, object(), b"x"], ids=["None", "object", "bytes"])
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_refused_with_the_argument(volume: Volume, name: str, bad: object) -> None:
    argument, call = CALLS[name]
    if name == "load" and isinstance(bad, bytes):
        argument = "json_src"  # text, but not JSON
    with pytest.raises(errors.InvalidRequest, match=argument) as refused:
        call(volume, bad)
    assert refused.value.field == argument
    assert isinstance(refused.value, ValueError) or name == "load"


@pytest.mark.parametrize(("method", "argument"), [(method, name) for method in FILTERS for name in FILTERS[method]])
def test_a_wrong_filter_is_refused(library: Library, method: str, argument: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=argument):
        getattr(library.persistence, method)(**{argument: object()})


@pytest.mark.parametrize("name", ["conn_info", "connector_info", "connection_info", "device"])
def test_a_connection_refuses_a_value_that_is_no_dictionary(volume: Volume, name: str) -> None:
    connection = volume.connect(CONNECTOR)
    before = connection.connection_info
    with pytest.raises(errors.InvalidRequest, match=name):
        setattr(connection, name, 5)
    assert connection.connection_info == before


@pytest.mark.parametrize("name", ["file_locks_path", "state_dir", "host", "project_id", "user_id", "root_helper"])
def test_the_set_up_refuses_a_wrong_value(name: str) -> None:
    values: dict[str, Any] = {name: 5.5}
    with pytest.raises(errors.InvalidRequest, match=name):
        Library(**values)


def test_a_back_end_that_is_not_loaded_is_named(process_wide: Any) -> None:
    process_wide.setup()
    for call in (lambda: Volume("absent"), lambda: Connection("absent", volume_id="v")):
        with pytest.raises(KeyError, match="absent") as missing:
            call()
        assert isinstance(missing.value, errors.NotFound)


@pytest.mark.parametrize("odd", ODD_IDS, ids=ascii)
def test_an_id_that_may_not_be_deleted_again_is_not_created(backend: Backend, odd: str) -> None:
    volume = backend.create_volume(1)
    for call in (
        lambda: backend.create_volume(1, id=odd),
        lambda: volume.create_snapshot(id=odd),
        lambda: volume.connect(CONNECTOR, id=odd),
    ):
        with pytest.raises(errors.InvalidRequest, match="id"):
            call()
    assert [known.id for known in backend._library.persistence.get_volumes()] == [volume.id]
    volume.delete()


@pytest.mark.parametrize("id", ["vol-1", "a b", "x" * 200, 7], ids=["text", "space", "long", "number"])
def test_other_ids_are_created_and_deleted(backend: Backend, id: Any) -> None:
    volume = backend.create_volume(1, id=id)
    assert (volume.id, backend._library.volume(id).id) == (str(id), str(id))
    volume.delete()


@pytest.mark.parametrize("name", ["vö", "日本", "a/b", "🙂"])
def test_a_name_may_be_any_text(backend: Backend, name: str) -> None:
    volume = backend.create_volume(1, name, name, metadata={name: name})
    snapshot = volume.create_snapshot(name)
    assert [known.name for known in backend._library.persistence.get_volumes(volume_name=name)] == [name]
    snapshot.delete()
    volume.delete()


def test_a_volume_whose_id_is_not_ascii_can_be_deleted(tmp_path: Path) -> None:
    """Earlier versions have created such volumes."""
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        backend = library.backend("here", **options(LOOPFILE, tmp_path))
        record = records.Volume(id="vö", backend="here", size=backend.create_volume(1)._record.size)
        backend.core.create_volume(record)
        library.volume("vö").delete()
        assert not list((tmp_path / "volumes").glob("*vö*"))
    finally:
        library.close()


def test_text_that_is_not_valid_unicode_is_refused_by_look_ups(tmp_path: Path) -> None:
    for name in ("memory", "db"):
        library = Library(persistence_config=storage(name, tmp_path))
        try:
            with pytest.raises(errors.InvalidRequest, match="volume_id"):
                library.volume("\udce9")
            with pytest.raises(errors.InvalidRequest, match="key"):
                library.persistence.set_key_value(KeyValue("\udce9", "x"))
        finally:
            library.close()
