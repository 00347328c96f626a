"""The exceptions of the library: Cinder's own if it has them, so that a program may catch either name.

Cinder is imported on first access to one of its exceptions. Exceptions of operations on a volume, snapshot or connection have
that object as `resource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from csi_cinderlib import brick, errors
from csi_cinderlib.cinderlib import compatible_errors, portable_errors
from csi_cinderlib.cinderlib.compatible_errors import Kinds

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Connection, Snapshot, Volume

    class _CinderException(Exception):
        """The attributes of Cinder's exceptions."""

        msg: str
        kwargs: dict[str, Any]
        """The values in the message, and `code`."""
        code: int
        """The HTTP status of the failure in Cinder's API."""
        resource: Volume | Snapshot | Connection
        """The object of the failed operation. Look-ups by id have none."""

    class NotFound(_CinderException): ...

    class VolumeNotFound(NotFound): ...

    class SnapshotNotFound(NotFound): ...

    class ConnectionNotFound(NotFound): ...

    class _Invalid(_CinderException): ...

    class InvalidVolume(_Invalid): ...


_CINDERS: Mapping[str, str] = MappingProxyType(
    {
        "NotFound": "NotFound",
        "VolumeNotFound": "VolumeNotFound",
        "SnapshotNotFound": "SnapshotNotFound",
        "ConnectionNotFound": "VolumeAttachmentNotFound",
        "InvalidVolume": "InvalidVolume",
    }
)


if not TYPE_CHECKING:  # type checkers know only the classes above

    def __getattr__(name: str) -> Any:
        if name not in _CINDERS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_cinder(), _CINDERS[name])


def __dir__() -> list[str]:
    return [*_CINDERS, "InvalidPersistence", "NotLocal"]


class InvalidPersistence(errors.Restorable):
    """`persistence_config` does not name a metadata store."""

    def __init__(self, name: object, remedy: str = "") -> None:
        super().__init__(f"Invalid persistence storage: {name}." + (f" {remedy}." if remedy else ""))


class NotLocal(errors.Restorable):
    """`detach` was called for a volume that this object has not attached to this host."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Volume {name} doesn't seem to be attached locally.")


def _cinder() -> Any:
    from csi_cinderlib.cinder import runtime

    runtime.load_cinder()
    from cinder import exception

    return exception


def brick_error() -> Kinds:
    """The classes of a failure on this host that os-brick has not raised."""
    return (brick.exception_class("BrickException"),)


def no_device() -> Kinds:
    """Those of an attach, which has no usable device then."""
    return (_cinder().DeviceUnavailable, brick.exception_class("VolumeDeviceNotFound"))


@contextmanager
def about(resource: object, on_host: Callable[[], Kinds] = brick_error) -> Iterator[None]:
    """Translate errors for users of the library: to the driver's own exception, or to Cinder's for our refusals.

    Other errors stay exceptions of `csi_cinderlib.errors`; where cinderlib raises an exception of another library, they are an
    instance of that class as well (`compatible_errors`).

    Args:
        on_host: the classes of a HostError.
    """
    failure: Exception
    try:
        yield
    except errors.DriverError as error:
        failure = _translate(error, on_host)
    except Exception as error:
        failure = error
    else:
        return
    failure.resource = resource  # type: ignore[attr-defined]  # part of the library's API
    portable_errors.enable(type(failure))
    raise failure


def _translate(error: errors.DriverError, on_host: Callable[[], Kinds]) -> Exception:
    if (of_driver := _of_driver(error)) is not None:
        return of_driver
    if isinstance(error, errors.HostError):
        return compatible_errors.of_host(error, on_host)
    for kind, translate in _TRANSLATIONS.items():
        if isinstance(error, kind):
            return translate(error)
    return error


def _refusal(error: Any) -> Exception:
    refusal: Exception = _cinder().InvalidVolume(reason=str(error))
    return refusal


def _not_found(error: Any) -> Exception:
    kinds = {"volume": "VolumeNotFound", "snapshot": "SnapshotNotFound", "attachment": "VolumeAttachmentNotFound"}
    if error.kind in kinds:
        which = {"filter": f"id={error.id}"} if error.kind == "attachment" else {f"{error.kind}_id": error.id}
        not_found: Exception = getattr(_cinder(), kinds[error.kind])(**which)
        return not_found
    return compatible_errors.missing(error) if error.kind == "back end" else error


def _of_driver(error: errors.DriverError) -> Exception | None:
    """The driver's exception that `cinder.faults` has translated.

    Other causes stay hidden, such as errors of a database library, which are not part of the API.
    """
    from csi_cinderlib.cinder import faults

    cause = error.__cause__
    if not isinstance(cause, Exception) or isinstance(cause, errors.DriverError):
        return None
    return cause if type(faults.translate("", cause)) is type(error) else None


_TRANSLATIONS: Mapping[type[errors.DriverError], Callable[[Any], Exception]] = MappingProxyType(
    {
        errors.NotFound: _not_found,
        errors.PreconditionFailed: _refusal,
        errors.InvalidRequest: compatible_errors.invalid,
        errors.Unsupported: compatible_errors.unsupported,
        errors.StoreUnavailable: compatible_errors.store_unavailable,
    }
)
