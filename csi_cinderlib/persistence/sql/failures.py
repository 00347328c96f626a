"""What the databases' errors mean: worth another try, a wrong setting, or a store that is away."""

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
    "28000": "the server does not let this user in: see its pg_hba.conf",
    "3D000": "the database does not exist: create it",
    "42501": "the user lacks rights: it must own the database's schema (CREATE, SELECT, INSERT, UPDATE, DELETE)",
    "1044": "the user has no rights on this database: GRANT ALL ON DATABASE.* TO USER",
    "1045": "the password is wrong, or the user is unknown or may not log in from this host",
    "1049": "the database does not exist: create it",
    "1142": "the user lacks rights: GRANT ALL ON DATABASE.* TO USER",
    "1698": "the server does not let this user in with a password",
    "1251": "the server wants an authentication method that the driver does not know",
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
"""libpq gives no SQLSTATE for a refused connection."""


def code(error: BaseException) -> str:
    """SQLSTATE or MySQL's number, "" if there is none."""
    cause: Any = getattr(error, "orig", None) or error
    if cause.args and isinstance(cause.args[0], int):  # MySQL, whose SQLSTATE says less
        return str(cause.args[0])
    if state := getattr(cause, "sqlstate", None):
        return str(state)
    text = str(cause)
    return next((state for pattern, state in _FATAL if pattern.search(text)), "")


def is_worth_another_try(error: DBAPIError) -> bool:
    """The transaction lost against another one."""
    return code(error) in _RETRIED


def lacks_room(error: Exception) -> bool:
    """Whether SQLite may have failed because the disk is full. It reports a quota and a missing inode by less specific codes."""
    cause: Any = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) or is_full(cause)


def no_room(location: Location) -> StoreUnavailable:
    return StoreUnavailable(
        f"the disk of the metadata store {location.file} is full: existing volumes can be taken down, and nothing new is begun"
    )


def moved(location: Location) -> StoreUnavailable:
    return StoreUnavailable(
        f"the metadata store {location.file} was moved or replaced while this process uses it: put it back, or stop this process, put "
        "the file in place that is to be used, and restart it"
    )


def not_seen(location: Location, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the metadata store {location.file} cannot be reached: {error.strerror}")


def at_start(error: BaseException, location: Location) -> DriverError:
    """An error while the store is opened: most are wrong settings."""
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
    """The server's own words in one line, without the statement, its values and the password."""
    cause: Any = getattr(error, "orig", None) or error
    words = cause.args[1] if len(cause.args) > 1 and isinstance(cause.args[0], int) else cause
    text = " ".join(str(words).split()) or type(cause).__name__
    return redact.without(text, filter(None, (location.url.password,)))
