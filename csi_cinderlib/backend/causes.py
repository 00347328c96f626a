"""Why a storage array could not be reached, where its driver says less: "unknown" for a refused connection, say. Pure."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator

_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "timed out",
}
_PLACE = re.compile(r"host='(?P<host>[^']{1,255})', port=(?P<port>\d{1,5})")
"""In the messages of urllib3's pools."""
_LONGEST_CHAIN = 30


def of_connection(error: BaseException) -> str:
    """What the operating system said of the connection, and to where it was, as a clause; "" if it said nothing, or the error does."""
    chain = list(_chain(error))
    for found in reversed(chain):
        if (why := _why(found)) and why.lower() not in str(error).lower():
            place = next(filter(None, map(_place, chain)), "")
            return f"{why} to {place}" if place else why
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'reason', '') or error}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "the name is not known"
    if isinstance(error, TimeoutError):
        return _WORDS[errno.ETIMEDOUT]
    return _WORDS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def _place(error: BaseException) -> str:
    pool = getattr(error, "pool", None) or getattr(error, "conn", None)
    host, port = getattr(pool, "host", None), getattr(pool, "port", None)
    if host and port:
        return f"{host}:{port}"
    found = _PLACE.search(str(error))
    return f"{found['host']}:{found['port']}" if found else ""
