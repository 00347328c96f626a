"""os-brick's errors as HostError, and os-brick's exception classes for programs that catch those."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from csi_cinderlib.concurrency import without_eventlet
from csi_cinderlib.errors import DriverError, HostError
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.observe import redact


class BrickFailure(HostError):
    """os-brick failed. The text has no secrets of the connection.

    Attributes:
        kind: the class of os-brick's exception.
        values: its attributes (`msg`, `code`, `cmd`, `exit_code`, `stderr` ...), without secrets.
    """

    def __init__(self, text: str, kind: type[Exception], values: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.kind = kind
        self.values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return HostError, self.args  # the class of a library may not be loadable where it is restored


@contextlib.contextmanager
def in_words(verb: str, connection: Connection) -> Iterator[None]:
    """Raise os-brick's errors as BrickFailure with their message. Hides the connection's secrets in errors and log."""
    with redact.hiding(redact.secrets_in(connection.data)):
        try:
            yield
        except DriverError:
            raise
        except Exception as error:
            text = f"cannot {verb} volume {connection.volume_id} ({connection.protocol}): {_described(error)}"
            raise BrickFailure(redact.known(text), type(error), _plain(vars(error))) from None


def _described(error: Exception) -> str:
    """A failed command in one line; other errors with their type, since the message is often empty."""
    if hasattr(error, "exit_code") and hasattr(error, "cmd"):
        output = (getattr(error, "stderr", "") or getattr(error, "stdout", "") or "").strip()
        return f"{error.cmd}: exit code {error.exit_code}" + (f": {output}" if output else "")
    return f"{type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    """The plain data in a value, without secrets."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact.known(str(value))


def exception_class(name: str) -> type[Exception]:
    """A class of os-brick's `exception` module."""
    with without_eventlet():
        from os_brick import exception

    kind: type[Exception] = getattr(exception, name)
    return kind


def exception_chainer() -> Any:
    """An empty os-brick ExceptionChainer, which collects errors."""
    return exception_class("ExceptionChainer")()
