"""Classification of database errors: retryable, a wrong setting, or an unavailable store."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError

from csi_cinderlib.errors import ConfigurationError, DriverError, StoreUnavailable
from csi_cinderlib.host.reserve import is_full
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.sql.location import URL_KEY, Location

_RETRIED = frozenset({"40001", "40P01", "55P03", "1213", "1205"})
"""Serialization failure, deadlock, lock not available; MySQL's deadlock and lock wait timeout."""

_SETTINGS = {
    "28P01": "the password is wrong, or the user is unknown",
    "28000": "the server rejects this user; check its pg_hba.conf",
    "3D000": "the database does not exist; create it first",
    "42501": "the user lacks privileges; it must own the database's schema (CREATE, SELECT, INSERT, UPDATE, DELETE)",
    "1044": "the user has no privileges on this database; run GRANT ALL ON DATABASE.* TO USER",
    "1045": "the password is wrong, or the user is unknown or may not log in from this host",
    "1049": "the database does not exist; create it first",
    "1142": "the user lacks privileges; run GRANT ALL ON DATABASE.* TO USER",
    "1698": "the server does not allow password authentication for this user",
    "1251": "the server requires an authentication method that the driver does not support",
}
"""By PostgreSQL's SQLSTATE or MySQL's error number."""

_FATAL = (
    (re.compile(r"password authentication failed|no password supplied|fe_sendauth"), "28P01"),
    (
        re.compile(r"no pg_hba.conf entry|role .* is not permitted|authentication failed|role .* does not exist"),
        "28000",
    ),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"permission denied"), "42501"),
)
"""libpq reports no SQLSTATE for a refused connection."""


_SHOWN_TEXT = re.compile(r"(Could not decode to UTF-8 column '[^']*') with text '.*")
"""The message of Python's sqlite3, which contains the value."""


def code(error: BaseException) -> str:
    """The SQLSTATE or MySQL error number; "" if there is none."""
    cause: Any = getattr(error, "orig", None) or error
    if cause.args and isinstance(cause.args[0], int):  # MySQL: more specific than its SQLSTATE
        return str(cause.args[0])
    if state := getattr(cause, "sqlstate", None):
        return str(state)
    text = str(cause)
    return next((state for pattern, state in _FATAL if pattern.search(text)), "")


def is_worth_another_try(error: DBAPIError) -> bool:
    """Whether the transaction failed because of a concurrent one."""
    return code(error) in _RETRIED


def lacks_room(error: Exception) -> bool:
    """Whether SQLite may have failed because the disk is full. It reports quotas and missing inodes with less specific codes."""
    cause: Any = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) or is_full(cause)


def no_room(location: Location) -> StoreUnavailable:
    return StoreUnavailable(
        f"the disk of the metadata store {location.file} is full; free space to allow new operations (detach and delete still work)"
    )


def moved(location: Location) -> StoreUnavailable:
    return StoreUnavailable(
        f"the metadata store {location.file} was moved or replaced while in use; put it back, or stop this process, put the intended "
        "file in place and start the process again"
    )


def not_seen(location: Location, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"cannot access the metadata store {location.file}: {error.strerror}")


def at_start(error: BaseException, location: Location) -> DriverError:
    """Convert an error while opening the store. Most are wrong settings."""
    if hint := _SETTINGS.get(code(error)):
        return ConfigurationError(URL_KEY, f"{location.shown}: {hint} ({_words(error, location)})")
    if location.is_file:
        return ConfigurationError(URL_KEY, f"{location.file}: {_words(error, location)}")
    return while_running(error, location)


def while_running(error: BaseException, location: Location) -> StoreUnavailable:
    if location.is_file and getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        return no_room(location)
    return StoreUnavailable(f"the metadata store {location.shown} failed: {_words(error, location)}")


def _words(error: BaseException, location: Location) -> str:
    """The message of the server in one line, without the statement, its values and the password."""
    cause: Any = getattr(error, "orig", None) or error
    words = cause.args[1] if len(cause.args) > 1 and isinstance(cause.args[0], int) else cause
    text = " ".join(str(words).split()) or type(cause).__name__
    text = _SHOWN_TEXT.sub(r"\1", text)
    return redact.without(text, location.secrets)
