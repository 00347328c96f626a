"""Our errors in classes that are also those which a program for cinderlib catches: of os-brick, Cinder, oslo.db and Python.

The text and the attributes of our class stay. Only our own exceptions are changed; a driver's exception is passed on as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from csi_cinderlib import brick, errors

Kinds = tuple[type[Exception], ...]


class _Both:
    """The first base of the combined classes."""

    args: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.args[0])

    def __bool__(self) -> bool:  # an ExceptionChainer is true if it contains exceptions
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        kept = errors.without_process(vars(self))
        return _restored, (errors.Local(type(self)), _ours(type(self)), self.args, kept)


def _restored(combined: errors.Local | None, ours: type[Exception], *state: Any) -> Exception:
    """A copy has the class of the original; a pickle has ours, as the libraries may not be loadable where it is restored."""
    kind: Any = ours if combined is None else combined.value
    error: Exception = errors.restored(kind, *state)
    return error


def both(error: errors.DriverError, kinds: Kinds, values: Mapping[str, Any] | None = None) -> Exception:
    """The error in a class that is its own and each of `kinds`; with their attributes `msg`, `kwargs` and `values`."""
    if isinstance(error, _Both):
        return error
    ours: Any = type(error)
    combined = _combined(ours, kinds)
    text = str(error)
    made: Exception = combined.__new__(combined, text)
    made.args = (text,)
    vars(made).update({"msg": text, "kwargs": {}, **(values or {}), **vars(error)})
    made.__cause__, made.__traceback__ = error.__cause__, error.__traceback__
    return made


@functools.cache
def _combined(ours: Any, kinds: Any) -> Any:
    shown = ours if kinds[0].__module__ == "builtins" else kinds[0]
    return type(shown.__name__, (_Both, ours, *kinds), {"__module__": shown.__module__})


def _ours(combined: type) -> type[errors.DriverError]:
    kind: type[errors.DriverError] = combined.__mro__[2]
    return kind


def of_host(error: errors.HostError, otherwise: Callable[[], Kinds]) -> Exception:
    """A failure on this host, as os-brick's exception if os-brick raised one."""
    if isinstance(error, brick.BrickFailure):
        return both(errors.HostError(str(error)), (error.kind,), error.values)
    return both(error, otherwise())


def unsupported(error: errors.Unsupported) -> Exception:
    return both(error, (brick.exception_class("InvalidConnectorProtocol"),))


def invalid(error: errors.InvalidRequest) -> Exception:
    """Cinder's versioned objects raise ValueError for a value that a field does not accept."""
    if error.field == "publish_context":  # the name in CSI
        error = type(error)("connection_info", error.problem)
    return both(error, (ValueError,))


def missing(error: errors.NotFound) -> Exception:
    """The back end's name is a key of `Backend.backends`."""
    return both(error, (KeyError,))


def store_unavailable(error: errors.StoreUnavailable) -> Exception:
    from oslo_db.exception import DBConnectionError

    return both(error, (DBConnectionError,), {"inner_exception": error.__cause__})
