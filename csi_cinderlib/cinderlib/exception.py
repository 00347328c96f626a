"""The exceptions of the library: Cinder's own if it has them, so that a program may catch either name.

Cinder is imported on first access to one of its exceptions. Exceptions of operations on a volume, snapshot or connection have
that object as `resource`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from csi_cinderlib import errors

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


class InvalidPersistence(Exception):
    """`persistence_config` does not name a metadata store."""

    def __init__(self, name: object) -> None:
        super().__init__(f"Invalid persistence storage: {name}.")


class NotLocal(Exception):
    """`detach` was called for a volume that this object has not attached to this host."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Volume {name} doesn't seem to be attached locally.")


def _cinder() -> Any:
    from csi_cinderlib.cinder import runtime

    runtime.load_cinder()
    from cinder import exception

    return exception


@contextmanager
def about(resource: object) -> Iterator[None]:
    """Translate errors for users of the library: to the driver's own exception, or to Cinder's for our refusals.

    Other errors stay exceptions of `csi_cinderlib.errors`.
    """
    failure: Exception
    try:
        yield
    except errors.DriverError as error:
        failure = _translate(error)
    except Exception as error:
        failure = error
    else:
        return
    failure.resource = resource  # type: ignore[attr-defined]  # part of the library's API
    raise failure


def _translate(error: errors.DriverError) -> Exception:
    if (of_driver := _of_driver(error)) is not None:
        return of_driver
    if isinstance(error, errors.NotFound):
        kinds = {"volume": "VolumeNotFound", "snapshot": "SnapshotNotFound", "attachment": "VolumeAttachmentNotFound"}
        if error.kind in kinds:
            key = "filter" if error.kind == "attachment" else f"{error.kind}_id"
            not_found: Exception = getattr(_cinder(), kinds[error.kind])(**{key: error.id})
            return not_found
    if isinstance(error, errors.PreconditionFailed):
        refusal: Exception = _cinder().InvalidVolume(reason=str(error))
        return refusal
    return error


def _of_driver(error: errors.DriverError) -> Exception | None:
    """The driver's exception that `cinder.faults` has translated.

    Other causes stay hidden, such as errors of a database library, which are not part of the API.
    """
    from csi_cinderlib.cinder import faults

    cause = error.__cause__
    if not isinstance(cause, Exception) or isinstance(cause, errors.DriverError):
        return None
    return cause if type(faults.translate("", cause)) is type(error) else None
