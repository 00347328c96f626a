"""Records databases of releases whose migrations the installed Cinder no longer has.

`python -m tests.component.adoption.openstack.record NAME PYTHON [DATABASE]...`

PYTHON has the Cinder of that release, psycopg2 and PyMySQL installed. The files are `recorded/NAME-DATABASE.sql`; DATABASE is sqlite,
postgresql or mariadb. The program is `program.txt`; its name keeps it from linters, because it must run on Python 3.6.

Train was recorded with Cinder 15.6.0 on Python 3.7; Ussuri, Victoria and Wallaby with Cinder 16.4.2, 17.4.0 and 18.2.1 on Python 3.8.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from tests.support.servers.mariadb import MariaDB
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import PASSWORD, Server, running

FOLDER = Path(__file__).parent


def main(name: str, python: str, *databases: str) -> None:
    for database in databases or tuple(_RECORDERS):
        text = re.sub("'[^']*/migrate_repo'", "'migrate_repo'", _RECORDERS[database](python))
        kept = [line for line in text.splitlines() if line and not line.startswith(("--", "\\", "/*M!"))]
        (FOLDER / "recorded" / f"{name}-{database}.sql").write_text("\n".join(kept) + "\n")


def _sqlite(python: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        file = f"{directory}/cinder.db"
        _fill(python, f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as connection:
            return "\n".join(connection.iterdump())


def _postgresql(python: str) -> str:
    def dump(server: PostgreSQL) -> bytes:
        place = ["--host", str(server.directory), "--port", str(server.port), "--username", "admin"]
        return server.run([server._pg_dump, "--inserts", "--no-owner", *place, "csi"])

    return _on_server(python, PostgreSQL, "postgresql+psycopg2", dump)


def _mariadb(python: str) -> str:
    return _on_server(python, MariaDB, "mysql+pymysql", MariaDB.dump)


def _on_server(python: str, kind: type, scheme: str, dump: Callable[..., bytes]) -> str:
    servers = running(kind)
    server: Server = next(servers)
    try:
        # Older versions of Cinder give Alembic and ConfigParser the URL, which must not contain a percent sign.
        server.query(_PASSWORD[scheme])
        _fill(
            python, server.url.replace(quote(PASSWORD, safe=""), "simple").replace(server.url.partition(":")[0], scheme)
        )
        return dump(server).decode()
    finally:
        for _ in servers:
            pass


_PASSWORD = {
    "postgresql+psycopg2": "ALTER ROLE csi PASSWORD 'simple'",
    "mysql+pymysql": "SET PASSWORD FOR csi@'%' = PASSWORD('simple')",
}


def _fill(python: str, url: str) -> None:
    subprocess.run([python, "-W", "ignore", str(FOLDER / "program.txt"), url], check=True)


_RECORDERS = {"sqlite": _sqlite, "postgresql": _postgresql, "mariadb": _mariadb}

if __name__ == "__main__":
    main(*sys.argv[1:])
