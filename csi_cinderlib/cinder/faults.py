"""Translate driver errors to DriverErrors, keeping the driver's message. This is the only place that does so."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence

from csi_cinderlib.backend import libraries
from csi_cinderlib.cinder.causes import connection_cause
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    DriverError,
    InUse,
    InvalidRequest,
    PreconditionFailed,
    ResourceExhausted,
    Unsupported,
)
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.observe import redact

# Cinder's exceptions by name, since drivers raise subclasses from several modules. Base classes match as well.
_IN_USE = frozenset({"VolumeIsBusy", "SnapshotIsBusy", "VolumeAttached", "VolumeIsConnected"})
_EXHAUSTED = frozenset({"QuotaError", "OverQuota", "GlanceNoSpace", "NoValidBackend", "PoolFull"})
_STATE = frozenset({"InvalidVolume", "InvalidSnapshot", "InvalidGroup", "InvalidGroupSnapshot", "SnapshotUnavailable"})
_PARAMETERS = frozenset({"InvalidVolumeType", "InvalidQoSSpecs", "InvalidParameterValue", "InvalidInput"})
_UNSUPPORTED = frozenset({"NotSupportedOperation"})
_CONFIGURATION = frozenset(
    {
        "InvalidConfigurationValue",
        "MissingParameterValue",
        "RequiredOptError",
        "ConfigFileValueError",
        "ParameterNotFound",
        "InvalidURL",
        "MissingSchema",
    }
)
_PROGRAMMING = frozenset(
    {"TypeError", "AttributeError", "KeyError", "ValueError"}
)  # raised by most drivers for a missing option
_UNREACHABLE = frozenset(
    {
        "DriverNotInitialized",
        "SSHException",
        "NoValidConnectionsError",
        "RequestException",
        "TimeoutExpired",
        "APITimeout",
    }
)
_TAKEN = re.compile(
    r"\bexists\b|duplicate|not unique|must be unique|(name|already) (is )?(in use|used|taken)", re.IGNORECASE
)
_MOST_NAMES = 10
_UNIQUE = 32
"""The length of a UUID without dashes."""
_NO_SPACE = re.compile(
    r"insufficient (free )?(space|capacity|extents|suitable)|no space left|not enough (free )?(space|capacity)"
    r"|out of space|exceeds? .{0,40}(capacity|free space)|(pool|volume group|aggregate) .{0,60}is full",
    re.IGNORECASE,
)


def translate(backend: str, error: BaseException) -> DriverError:  # noqa: PLR0911  # a table in words
    """The DriverError that corresponds to `error`."""
    if isinstance(error, DriverError):
        return error
    message = words(error)
    names = {cls.__name__ for cls in type(error).__mro__}
    if "InvalidConnectorException" in names:
        return InvalidRequest("node_id", f"node cannot reach back end {backend!r}: {message}")
    if names & _IN_USE:
        return InUse(f"back end {backend!r}: {message}")
    if names & _EXHAUSTED or _NO_SPACE.search(message) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"back end {backend!r}: {message}")
    if names & _PARAMETERS:
        return InvalidRequest("parameters", f"back end {backend!r}: {message}")
    if names & _STATE:
        return PreconditionFailed(f"back end {backend!r}: {message}")
    if isinstance(error, NotImplementedError) or names & _UNSUPPORTED:
        return Unsupported(f"back end {backend!r} does not support this operation{': ' if message else ''}{message}")
    if names & _UNREACHABLE or isinstance(error, ConnectionError | TimeoutError):
        return BackendUnavailable(backend, message)
    return BackendError(backend, message)


def translate_setup(backend: str, driver: str, error: BaseException, *, unset: Sequence[str] = ()) -> DriverError:
    """As `translate`, for an error while the driver is loaded; names missing libraries and invalid options.

    Args:
        unset: the driver's options without a value.
    """
    if isinstance(error, DriverError):
        return error
    key = f"backends.{backend}.driver"
    if lacking := libraries.missing(driver):
        return ConfigurationError(key, "; ".join(library.advice for library in lacking) + f" ({words(error)})")
    if isinstance(error, ImportError):
        library = libraries.of_module(error.name or "")
        return ConfigurationError(
            key, library.advice if library else f"cannot import the driver {driver}: {words(error)}"
        )
    hint = f" (options not set: {', '.join(unset[:_MOST_NAMES])})" if unset else ""
    names = {cls.__name__ for cls in type(error).__mro__}
    prefix = f"{type(error).__name__}: " if names & _PROGRAMMING else ""
    if names & (_CONFIGURATION | _PARAMETERS):
        return ConfigurationError(f"backends.{backend}", f"{words(error)}{hint}")
    reason = connection_cause(error)
    because = f" ({reason})" if reason else ""
    if isinstance(translated := translate(backend, error), BackendUnavailable):
        return BackendUnavailable(backend, f"{translated.message}{because}")
    return BackendUnavailable(backend, f"set-up failed: {prefix}{words(error)}{because}{hint}")


_PREFIX = "Bad or unexpected response from the storage volume backend API: "
"""Of Cinder's VolumeBackendAPIException, for any failure. Kubernetes shortens long messages, and the cause is at the end."""


def words(error: BaseException) -> str:
    """The driver's message in one line, with passwords masked."""
    stderr = getattr(error, "stderr", None)
    if stderr and isinstance(stderr, str):
        message = f"{getattr(error, 'cmd', 'command')}: {stderr.strip()}"
    else:
        message = str(getattr(error, "msg", None) or error).removeprefix(_PREFIX) or type(error).__name__
    return _masked(" ".join(redact.text(message).split()))


def _masked(message: str) -> str:
    from oslo_utils import strutils

    return str(strutils.mask_password(message))


def is_missing(error: BaseException, record: Volume | Snapshot | Group | GroupSnapshot) -> bool:
    """Whether the error means that this object is not, or no longer, on the back end.

    Drivers also raise Cinder's "not found" for a mapping, a source or a parent. The error must therefore match the kind of object
    and contain its name or id.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if f"{type(record).__name__}NotFound" not in names:
        return False
    message = str(error).lower()
    return any(_is_named(identity.lower(), message) for identity in _identities(record))


def _is_named(identity: str, message: str) -> bool:
    """Whether a lower-case message contains the id. A short id must be a separate word: "LUN 17" and "10.0.0.7" do not match 7."""
    if len(identity) >= _UNIQUE:
        return identity in message
    return bool(re.search(rf"(?<![\w.:]){re.escape(identity)}(?![\w:-]|\.\w)", message))


def _identities(record: Volume | Snapshot | Group | GroupSnapshot) -> Iterator[str]:
    """The ids by which a driver may refer to the object."""
    yield record.id
    yield record.id.replace("-", "")
    if isinstance(record, Volume | Snapshot):
        yield from filter(None, (record.provider.id, record.provider.location))


def is_name_taken(error: BaseException) -> bool:
    """Whether the back end may have an object of that name. Matching the text is safe: the effect is only to leave it alone."""
    return "Duplicate" in {cls.__name__ for cls in type(error).__mro__} or bool(_TAKEN.search(str(error)))


def is_not_found(error: BaseException) -> bool:
    """Whether the driver did not find a volume or snapshot."""
    return bool({cls.__name__ for cls in type(error).__mro__} & {"VolumeNotFound", "SnapshotNotFound"})


class translated:
    """Raise the block's errors as DriverErrors. A class, because it is entered several times in each driver call."""

    __slots__ = ("_backend",)

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and (ours := translate(self._backend, error)) is not error:
            raise ours from error
