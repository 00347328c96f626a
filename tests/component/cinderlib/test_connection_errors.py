"""The exceptions of connections: each is caught by the name of os-brick, Cinder or Python that cinderlib raised, and by ours."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import brick, errors
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinderlib import Backend, Connection, Library, Volume, default, exception
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, Failing

UNREACHABLE = {"target_portal": "127.0.0.1", "target_port": 9, "nqn": "nqn.x:v", "transport_type": "tcp", "ns_id": 1}
ON_ATTACH: dict[str, tuple[str, dict[str, Any], str]] = {
    "no portal": ("nvmeof", UNREACHABLE, "os_brick.exception.VolumeDeviceNotFound"),
    "no adapter": ("fibre_channel", {"target_wwn": "50", "target_lun": 1}, "os_brick.exception.NoFibreChannelHostsFound"),
    "no configuration": ("storpool", {}, "os_brick.exception.BrickException"),
    "no key": ("scaleio", {}, "builtins.KeyError"),
    "no file": ("local", {"device_path": "/absent/volume"}, "cinder.exception.DeviceUnavailable"),
    "no device": ("local", {"device_path": "/absent/volume"}, "os_brick.exception.VolumeDeviceNotFound"),
    "a directory": ("local", {"device_path": "/proc"}, "cinder.exception.DeviceUnavailable"),
    "no such protocol": ("nothing", {}, "os_brick.exception.InvalidConnectorProtocol"),
    "a bad name": ("lightos", {"uuid": "../x"}, "builtins.ValueError"),
}  # fmt: skip


@pytest.fixture
def library() -> Iterator[Library]:
    library = Library(persistence_config={"storage": "memory"})
    yield library
    library.close()


@pytest.fixture
def volume(fake: Backend) -> Volume:
    return fake.create_volume(1)


def connected(volume: Volume, protocol: str, data: dict[str, Any]) -> Connection:
    default.loaded_backend(volume.backend).driver.initialize_connection = lambda *_: {
        "driver_volume_type": protocol,
        "data": dict(data),
    }
    return volume.connect(CONNECTOR, device_scan_attempts=1)


def resource(caught: pytest.ExceptionInfo[Exception]) -> object:
    error: Any = caught.value
    return error.resource


def class_named(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    load_cinder()
    return getattr(__import__(module, fromlist=[kind]), kind)


@pytest.mark.parametrize("case", ON_ATTACH)
def test_a_failed_attach_is_caught_by_the_class_that_os_brick_or_cinder_raises(volume: Volume, case: str) -> None:
    protocol, data, expected = ON_ATTACH[case]
    connection = connected(volume, protocol, data)
    with pytest.raises(class_named(expected)) as caught:
        connection.attach()
    assert isinstance(caught.value, errors.DriverError)
    assert resource(caught) is connection
    assert str(caught.value)
    assert (connection.attached, volume.local_attach) == (False, None)


def test_an_exception_has_os_bricks_attributes_and_is_ours_after_pickling(volume: Volume) -> None:
    connection = connected(volume, "fibre_channel", {"target_wwn": "50", "target_lun": 1})
    with pytest.raises(errors.HostError) as caught:
        connection.attach()
    error: Any = caught.value
    assert (type(error).__name__, error.code, error.kwargs) == ("NoFibreChannelHostsFound", 500, {"code": 500})
    assert "unable to locate any Fibre Channel devices" in error.msg
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), str(restored)) == (errors.HostError, str(error))


def test_a_failed_detach_keeps_the_device_and_raises_os_bricks_class(volume: Volume) -> None:
    connection = connected(volume, "storpool", {})
    connection.device_attached({"path": "/dev/absent"})
    for options in ({}, {"ignore_errors": True}):  # without force there is nothing to ignore
        with pytest.raises(brick.exception_class("BrickException"), match="StorPool"):
            connection.detach(**options)
        assert connection.path == "/dev/absent"


def test_a_forced_detach_raises_all_errors_at_the_end_and_keeps_the_device(volume: Volume) -> None:
    connection = connected(volume, "storpool", {})
    connection.device_attached({"path": "/dev/absent"})
    with pytest.raises(brick.exception_class("ExceptionChainer"), match="StorPool") as caught:
        connection.detach(force=True)
    assert (resource(caught), connection.path) == (connection, "/dev/absent")
    given = brick.exception_chainer()
    with pytest.raises(type(given)) as again:
        connection.detach(force=True, exc=given)
    assert again.value is given
    connection.detach(force=True, ignore_errors=True)
    assert not connection.attached


def test_a_given_chain_with_errors_is_raised_after_a_successful_detach(volume: Volume) -> None:
    connection = connected(volume, "local", {"device_path": "/dev/absent"})
    connection.device_attached({"path": "/dev/absent"})
    earlier = brick.exception_chainer()
    earlier.add_exception(OSError, OSError("earlier"), None)
    with pytest.raises(type(earlier), match="earlier"):
        connection.detach(exc=earlier)
    assert connection.attached
    connection.detach(ignore_errors=True, exc=earlier)
    assert not connection.attached


def test_a_forced_detach_of_a_volume_disconnects_it_and_then_raises_the_errors(volume: Volume, fake: Backend) -> None:
    connection = connected(volume, "storpool", {})
    connection.device_attached({"path": "/dev/absent"})
    volume.local_attach = connection
    with pytest.raises(brick.exception_class("BrickException")):
        volume.detach()
    assert (volume.local_attach, connection.connected) == (connection, True)
    with pytest.raises(brick.exception_class("ExceptionChainer")) as caught:
        volume.detach(force=True)
    assert (resource(caught), connection.connected, fake.driver.mapped) == (volume, False, set())
    with pytest.raises(exception.NotLocal):
        volume.detach()


CALLS: dict[str, tuple[Callable[[Any], object], str]] = {
    "an unknown volume": (lambda volume: volume._library.volume("x"), "cinder.exception.VolumeNotFound"),
    "an unknown connection": (
        lambda volume: volume._library.connection("x"),
        "cinder.exception.VolumeAttachmentNotFound",
    ),
    "a volume with snapshots": (
        lambda volume: volume.create_snapshot().volume.delete(),
        "cinder.exception.InvalidVolume",
    ),
    "not attached here": (lambda volume: volume.detach(), "csi_cinderlib.cinderlib.exception.NotLocal"),
    "a bad field": (lambda volume: volume.connect(CONNECTOR, attach_mode="rx"), "builtins.ValueError"),
    "a bad size": (lambda volume: volume.backend.create_volume("x"), "builtins.ValueError"),
    "a bad new size": (lambda volume: volume.extend("x"), "builtins.ValueError"),
    "a back end that is not loaded": (lambda _volume: Connection("absent", volume_id="x"), "builtins.KeyError"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_refusal_is_caught_by_the_class_that_cinderlib_raises(process_wide: Any, case: str) -> None:
    volume = process_wide.Backend("fake", volume_driver=NOTHING).create_volume(1)
    call, expected = CALLS[case]
    with pytest.raises(class_named(expected)):
        call(volume)


def test_a_store_that_does_not_answer_is_caught_by_the_class_of_oslo_db() -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        connection = library.backend("fake", volume_driver=NOTHING).create_volume(1).connect(CONNECTOR)
        store.fails = lambda call, _record: call == "get"
        with pytest.raises(class_named("oslo_db.exception.DBConnectionError")) as caught:
            connection.refresh()
        assert isinstance(caught.value, errors.StoreUnavailable)
    finally:
        store.fails = lambda _call, _record: False
        library.close()


def test_the_module_has_every_exception_of_cinderlib() -> None:
    names = {"NotFound", "VolumeNotFound", "SnapshotNotFound", "ConnectionNotFound", "InvalidVolume"}
    for name in names | {"InvalidPersistence", "NotLocal"}:
        assert issubclass(getattr(exception, name), Exception)
    published = json.loads((Path(__file__).parent / "public-names-5.2.0.json").read_text())
    assert set(published["exception"]) <= names | {"InvalidPersistence", "NotLocal"}
    kind: Any = exception.VolumeNotFound
    error = kind(volume_id="v")
    assert (str(error), error.msg, error.kwargs["volume_id"], error.code) == (
        "Volume v could not be found.",
        "Volume v could not be found.",
        "v",
        404,
    )
