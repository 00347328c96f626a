"""The database of a store, from its URL and the other options of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.plugins import check_options
from csi_cinderlib.persistence.sql import url_arguments

URL_KEY = "store.options.url"
DRIVERS: Mapping[str, tuple[str, str]] = {
    "sqlite": ("pysqlite", ""),
    "postgresql": ("psycopg", "postgresql"),
    "mysql": ("pymysql", "mysql"),
    "mariadb": ("pymysql", "mysql"),
}
"""By dialect: the driver in SQLAlchemy, and the extra of this package that installs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The location of the database and its connection settings.

    Attributes:
        url: includes the password.
        pool_size: maximum number of connections to a server. Each is held for one statement of about a millisecond, so far
            fewer than the worker threads are enough, and the limit of the server is not used up.
        statement_timeout: limit for one statement, in seconds.
        connect_timeout: in seconds.
        migrate: update the schema when the store is opened; otherwise an older schema is refused.
    """

    url: URL = field(repr=False)
    pool_size: int = 16
    statement_timeout: float = 10.0
    connect_timeout: float = 5.0
    migrate: bool = True

    @property
    def is_file(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path:
        assert self.url.database is not None
        return Path(self.url.database)

    @property
    def shown(self) -> str:
        """The URL for messages, without the password and without the arguments of the driver, which may contain passwords as well."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The parts of the URL that must not be shown."""
        given = self.url.query.items()
        passwords = [value for name, value in given if "pass" in name.lower() and isinstance(value, str)]
        return tuple(filter(None, (self.url.password, *passwords)))


def locate(options: Mapping[str, object], state_dir: Path) -> Location:
    """Parse the options of the `sql` plugin. Without a URL, the location is the SQLite file metadata.db in the state directory.

    Raises:
        ConfigurationError: an option is unknown or invalid.
    """
    check_options(options, ("url", "password", "pool_size", "statement_timeout", "connect_timeout", "migrate"))
    return Location(
        url=_with_password(_url(options, state_dir), options),
        pool_size=int(_number(options, "pool_size", 16, least=1)),
        statement_timeout=_number(options, "statement_timeout", 10.0, least=0.1),
        connect_timeout=_number(options, "connect_timeout", 5.0, least=1),
        migrate=_flag(options, "migrate", default=True),
    )


def without_driver(url: str) -> str:
    """The URL without a driver such as `+psycopg2`, which a program has chosen for itself."""
    scheme, colon, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{colon}{rest}"


def _url(options: Mapping[str, object], state_dir: Path) -> URL:
    given = options.get("url", "")
    if not given:
        return URL.create("sqlite", database=str(state_dir / "metadata.db"))
    try:
        url = make_url(str(given))
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            URL_KEY,
            "must be a database URL, DIALECT://USER@HOST:PORT/DATABASE, with special characters percent-encoded",
        ) from None
    dialect, _, driver = url.drivername.partition("+")
    dialect = "postgresql" if dialect == "postgres" else dialect
    if dialect not in DRIVERS:
        raise ConfigurationError(URL_KEY, f"unsupported dialect {dialect!r}; supported: {', '.join(DRIVERS)}")
    known, _ = DRIVERS[dialect]
    if driver not in ("", known):
        raise ConfigurationError(URL_KEY, f"unsupported driver {driver!r}; supported: {dialect}+{known}")
    if "@" in (url.host or ""):  # the rest of a password, which would be shown as the host
        raise ConfigurationError(URL_KEY, "has more than one @; percent-encode special characters of the password")
    if dialect == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(URL_KEY, "must name a file: use sqlite:////PATH, or the plugin 'memory'")
    if dialect != "sqlite" and not url.database:
        raise ConfigurationError(URL_KEY, f"must name a database: {dialect}://USER@HOST:PORT/DATABASE")
    url = url.set(drivername=f"{dialect}+{known}")
    url_arguments.check(url, URL_KEY)
    return url


def _with_password(url: URL, options: Mapping[str, object]) -> URL:
    password = options.get("password")
    if isinstance(password, bool):
        raise ConfigurationError("store.options.password", "must be text; put it in quotes")
    return url.set(password=str(password)) if password else url


def _number(options: Mapping[str, object], name: str, default: float, *, least: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise ConfigurationError(f"store.options.{name}", f"must be a number of at least {least} (got {value!r})")
    return value


def _flag(options: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise ConfigurationError(f"store.options.{name}", f"must be true or false (got {value!r})")
    return value
