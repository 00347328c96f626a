"""The arguments of a database URL, after its `?`. Drivers report a wrong one late, some with a TypeError, and SQLite ignores it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.engine import URL

from csi_cinderlib.config.near import unknown
from csi_cinderlib.errors import ConfigurationError

_KNOWN: Mapping[str, frozenset[str]] = {
    "sqlite": frozenset("timeout check_same_thread cached_statements detect_types isolation_level".split()),
    "mysql": frozenset(
        "bind_address charset client_flag collation connect_timeout database db host init_command local_infile passwd password program_name "
        "read_default_file read_default_group read_timeout sql_mode ssl_ca ssl_capath ssl_cert ssl_check_hostname ssl_cipher ssl_disabled "
        "ssl_key ssl_key_password ssl_verify_cert ssl_verify_identity unix_socket use_unicode user write_timeout".split()
    ),
}
"""By dialect. The list is that of PyMySQL 1.1, without arguments that cannot be text."""
_REPEATABLE = frozenset({"host", "port"})
"""PostgreSQL's, for several servers."""


def check(url: URL, key: str) -> None:
    """Check names and values before the first connection. Messages contain no value, which may be a password.

    Args:
        url: with its dialect and driver.
        key: where the URL is set, for messages.

    Raises:
        ConfigurationError: names the argument.
    """
    if not url.query:
        return
    known = _known(url.get_backend_name())
    for name, value in url.query.items():
        if known is not None and name not in known:
            raise ConfigurationError(key, unknown("argument", name, known))
        if not isinstance(value, str) and name not in _REPEATABLE:
            raise ConfigurationError(key, f"has the argument {name!r} more than once")
        try:
            url.get_dialect()().create_connect_args(url.set(query={name: value}))
        except (ValueError, TypeError):
            raise ConfigurationError(key, f"has an invalid value of the argument {name!r}; see {_pages(url)}") from None


def _known(dialect: str) -> frozenset[str] | None:
    """None if they are unknown, because the driver is missing. A later error names its package."""
    if dialect != "postgresql":
        return _KNOWN["mysql" if dialect == "mariadb" else dialect]
    try:
        from psycopg import pq
    except ImportError:
        return None
    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _pages(url: URL) -> str:
    return f"SQLAlchemy's documentation of {url.drivername}"
