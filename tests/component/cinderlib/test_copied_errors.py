"""Exceptions are copied and pickled, for example by `multiprocessing.Pool`, with their class, text and attributes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from csi_cinderlib import brick, errors
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinderlib import Backend, Volume, exception

ARGUMENTS: dict[type[errors.DriverError], tuple[Any, ...]] = {
    errors.InvalidRequest: ("size", "must be set"),
    errors.ConfigurationError: ("host", "must be set"),
    errors.NotFound: ("volume", "v"),
    errors.AlreadyExists: ("volume", "v", "its size"),
    errors.StaleRecord: ("volume", "v"),
    errors.CorruptRecord: ("volume", "v", "no size"),
    errors.BackendError: ("array", "no answer"),
}


def all_classes(kind: type[errors.DriverError]) -> Iterator[type[errors.DriverError]]:
    yield kind
    for derived in kind.__subclasses__():
        if derived.__module__ == errors.__name__:
            yield from all_classes(derived)


def made(kind: type[errors.DriverError]) -> errors.DriverError:
    known = next((arguments for base in kind.__mro__ if (arguments := ARGUMENTS.get(base))), ("it failed",))
    return kind(*known)


OF_CINDER: Any = exception
"""Its classes have the constructor of Cinder, which type checkers do not know."""
OURS: dict[str, Callable[[], Any]] = {
    kind.__name__: lambda kind=kind: made(kind)  # type: ignore[misc]  # mypy does not infer defaults of lambdas
    for kind in all_classes(errors.DriverError)
}
OF_LIBRARY: dict[str, Callable[[], Any]] = {
    "InvalidPersistence": lambda: exception.InvalidPersistence("disk", "use memory"),
    "NotLocal": lambda: exception.NotLocal("v"),
    "library.NotFound": lambda: exception.NotFound("no such object"),
    "VolumeNotFound": lambda: OF_CINDER.VolumeNotFound(volume_id="v"),
    "SnapshotNotFound": lambda: OF_CINDER.SnapshotNotFound(snapshot_id="v"),
    "ConnectionNotFound": lambda: OF_CINDER.ConnectionNotFound(filter="id=v"),
    "InvalidVolume": lambda: OF_CINDER.InvalidVolume(reason="it is attached"),
}


class TwoArguments(Exception):
    """A driver's exception, whose constructor does not accept its own `args`."""

    def __init__(self, array: str, code: int) -> None:
        super().__init__(f"{array}: code {code}")
        self.code = code


OF_DRIVERS: dict[str, Callable[[], Any]] = {
    "constructor": lambda: TwoArguments("array", 7),
    "KeyError": lambda: KeyError("lun"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "ImportError": lambda: ImportError("no rados", name="rados"),
    "OSError": lambda: FileNotFoundError(2, "No such file", "/absent"),
}
ALL = {**OURS, **OF_LIBRARY, **OF_DRIVERS}


def raised(error: Exception, resource: Any) -> Any:
    with pytest.raises(Exception) as caught, exception.about(resource):
        raise error
    return caught.value


def shown(error: Any) -> tuple[Any, ...]:
    attributes = {name: str(value) for name, value in vars(error).items() if name != "resource"}
    return str(error), error.args, attributes


@pytest.fixture
def volume(fake: Backend) -> Volume:
    return fake.create_volume(1)


@pytest.mark.parametrize("name", ALL)
def test_a_pickle_keeps_the_text_and_the_attributes(volume: Volume, name: str) -> None:
    load_cinder()
    error = raised(ALL[name](), volume)
    back = pickle.loads(pickle.dumps(error))
    assert shown(back) == shown(error)
    assert not hasattr(back, "resource")
    assert isinstance(error, type(back))
    assert isinstance(back, (type(error), errors.DriverError))


@pytest.mark.parametrize("name", ALL)
def test_a_copy_is_of_the_same_class_and_has_a_resource(volume: Volume, name: str) -> None:
    load_cinder()
    error = raised(ALL[name](), volume)
    shallow, deep = copy.copy(error), copy.deepcopy(error)
    assert (type(shallow), shown(shallow)) == (type(deep), shown(deep)) == (type(error), shown(error))
    assert shallow.resource is volume
    assert (deep.resource.id, deep.resource is volume) == (volume.id, False)


@pytest.mark.parametrize("name", [*OURS, *OF_LIBRARY])
def test_exceptions_without_a_resource_are_pickled_too(name: str) -> None:
    error = ALL[name]()
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (type(error), str(error))


def test_a_copy_of_an_exception_of_os_brick_stays_one(volume: Volume) -> None:
    error = raised(errors.HostError("no device"), volume)
    assert isinstance(copy.deepcopy(error), brick.exception_class("BrickException"))


POOL = """
from multiprocessing import Pool
from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Library, exception

def fail(which):
    library = Library()
    volume = library.backend("fake", volume_driver="tests.support.fakes.nothing.NothingDriver").create_volume(1)
    try:
        library.volume("absent") if which == "absent" else volume.extend("many")
    finally:
        library.close()

if __name__ == "__main__":
    with Pool(1) as pool:
        for which, kind in (("absent", exception.VolumeNotFound), ("size", errors.InvalidRequest)):
            try:
                pool.apply_async(fail, [which]).get(timeout=120)
            except kind as error:
                print(kind.__name__, error)
"""


def test_a_pool_of_processes_passes_the_exceptions_on() -> None:
    done = subprocess.run([sys.executable, "-c", POOL], check=False, capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["VolumeNotFound", "InvalidRequest"], done.stderr
    assert "many" in lines[1]
