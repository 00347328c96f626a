"""Find why a storage is unreachable, from the operating system, TLS and SSH errors behind a driver's error."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import traceback
from collections.abc import Iterator
from typing import Any

_REASONS = {
    errno.ECONNREFUSED: ("connection refused", " to {place}"),
    errno.ECONNRESET: ("connection reset", " by {place}"),
    errno.EHOSTUNREACH: ("no route to host", " {place}"),
    errno.ENETUNREACH: ("network is unreachable", ": {place}"),
    errno.ETIMEDOUT: ("timed out", ": {place}"),
}
"""The reason, and the text that follows if the address is known."""
_LOGIN = ("login refused", " by {place}; check the user name, the password and the key")
_NO_SSH = ("no SSH server answers", " at {place}")
_NO_SSH_MESSAGES = ("No existing session", "Error reading SSH protocol banner")
"""paramiko's messages for a server that does not respond or is not an SSH server."""
_PLACE = re.compile(r"host='(?P<host>[^']{1,255})', port=(?P<port>\d{1,5})")
"""The address in messages of urllib3's pools."""
_LONGEST_CHAIN = 30
_UNKNOWN = ("", "")


def connection_cause(error: BaseException) -> str:
    """The reason and address of a failed connection, as a clause; "" if unknown, or if the error already contains it."""
    chain = list(_chain(error))
    place = next(filter(None, map(_place, chain)), "")
    said = str(error).lower()
    for link in reversed(chain):
        why, where = _reason(link)
        if why and not (why.lower() in said and _host(place).lower() in said):
            return f"{why}{where.format(place=place)}" if place else why
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _reason(error: BaseException) -> tuple[str, str]:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'reason', '') or error}", " at {place}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "name resolution failed", ": {place}"
    if isinstance(error, TimeoutError):
        return _REASONS[errno.ETIMEDOUT]
    if isinstance(error, OSError) and error.errno in _REASONS:
        return _REASONS[error.errno]
    return _ssh_reason(error)


def _ssh_reason(error: BaseException) -> tuple[str, str]:
    names = {cls.__name__ for cls in type(error).__mro__}
    if "AuthenticationException" in names:
        return _LOGIN
    if "SSHException" in names and str(error).startswith(_NO_SSH_MESSAGES):
        return _NO_SSH
    return next(filter(any, map(_reason, _by_address(error).values())), _UNKNOWN)


def _place(error: BaseException) -> str:
    pool = getattr(error, "pool", None) or getattr(error, "conn", None)
    host, port = getattr(pool, "host", None), getattr(pool, "port", None)
    if not (host and port):
        host, port = _ssh_place(error)
    if host and port:
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    found = _PLACE.search(str(error))
    return f"{found['host']}:{found['port']}" if found else ""


def _host(place: str) -> str:
    return place.rpartition(":")[0].strip("[]")


def _ssh_place(error: BaseException) -> tuple[Any, Any]:
    """The address that paramiko was to connect to. Only one of its errors contains addresses."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "connect" and frame.f_globals.get("__name__") == "paramiko.client":
            return frame.f_locals.get("hostname"), frame.f_locals.get("port")
    return next(((address[0], address[1]) for address in _by_address(error)), (None, None))


def _by_address(error: BaseException) -> dict[Any, BaseException]:
    """paramiko's error for each address of the host, if it could not connect to any."""
    errors = getattr(error, "errors", None)
    is_ours = type(error).__name__ == "NoValidConnectionsError" and isinstance(errors, dict)
    return errors if is_ours else {}  # type: ignore[return-value]  # as paramiko documents it
