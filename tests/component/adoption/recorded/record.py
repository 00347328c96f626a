"""Records databases of cinderlib as SQL text: `python -m tests.component.adoption.recorded.record NAME PYTHON`.

PYTHON has cinderlib, psycopg2 and PyMySQL installed. NAME is the version, such as `5.2.0`; the files are NAME-DATABASE.sql, and
NAME-sqlite-soft.sql with `soft_deletes`. The program is `program.txt`; its name keeps it from linters, because it must run on Python 3.6.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server, running

FOLDER = Path(__file__).parent
_OF_MYSQL = re.compile("GTID_PURGED|SQL_LOG_BIN")
"""Statements that MariaDB does not know."""
_ENVIRONMENT = re.compile(r"'[^']*/(?=lib/python)")
"""The folder of cinderlib's environment, which Cinder's migrations store."""


def main(name: str, python: str) -> None:
    for deletes in ("hard", "soft"):
        with tempfile.TemporaryDirectory() as directory:
            file = f"{directory}/cinderlib.db"
            _fill(python, f"sqlite:///{file}", deletes)
            with closing(sqlite3.connect(file)) as connection:
                _write(name, "sqlite" if deletes == "hard" else "sqlite-soft", "\n".join(connection.iterdump()) + "\n")
    _on_server(name, python, running(PostgreSQL), "postgresql", "postgresql+psycopg2")
    _on_server(name, python, running(MySQL), "mysql", "mysql+pymysql")


def _on_server(name: str, python: str, servers: Iterator[Server], database: str, scheme: str) -> None:
    server = next(servers)
    try:
        _fill(python, f"{scheme}://{server.url.partition('://')[2]}", "hard")
        _write(name, database, _dumped(server).decode())
    finally:
        for _ in servers:
            pass


def _dumped(server: Server) -> bytes:
    if not isinstance(server, PostgreSQL):
        return server.dump()
    place = ["--host", str(server.directory), "--port", str(server.port), "--username", "admin"]
    return server.run([server._pg_dump, "--inserts", "--no-owner", *place, "csi"])


def _fill(python: str, url: str, deletes: str) -> None:
    subprocess.run([python, str(FOLDER / "program.txt"), url, deletes], check=True, env=dict(os.environ))


def _write(name: str, database: str, text: str) -> None:
    kept = [
        line for line in text.splitlines() if line and not line.startswith(("--", "\\")) and not _OF_MYSQL.search(line)
    ]
    (FOLDER / f"{name}-{database}.sql").write_text(_ENVIRONMENT.sub("'/opt/cinderlib/", "\n".join(kept) + "\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
