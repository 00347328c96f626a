"""Recorded databases of cinderlib, loaded where they came from."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from csi_cinderlib.cli import main
from csi_cinderlib.model.records import Attachment, KeyValue, Snapshot, Volume
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.sql import read
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.server import Server

RECORDED = Path(__file__).parent / "recorded"


def sqlite_file(directory: Path, recording: str = "5.2.0-sqlite") -> Path:
    """A file as cinderlib left it."""
    file = directory / "cinderlib.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((RECORDED / f"{recording}.sql").read_text())
    return file


def change(file: Path, *statements: str) -> None:
    """Change a source behind the back of the program."""
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def id_of(file: Path, name: str) -> str:
    """The id of a recorded volume."""
    with closing(sqlite3.connect(file)) as connection:
        ((id,),) = connection.execute("SELECT id FROM volumes WHERE display_name = ?", (name,)).fetchall()
    return str(id)


def load(server: Server, recording: str) -> None:
    """Fill the database of a server."""
    load_text(server, (RECORDED / f"{recording}.sql").read_text())


def load_text(server: Server, text: str) -> None:
    """Replace the database of a server by the result of SQL statements."""
    server.renew_database()
    server.altered = True
    if not isinstance(server, MariaDB):
        with server.connect_as_owner() as connection:
            connection.execute(text)
        return
    import pymysql
    from pymysql.constants import CLIENT

    with (
        closing(
            pymysql.connect(
                unix_socket=server._socket, user="root", database="csi", client_flag=CLIENT.MULTI_STATEMENTS
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(text)
        while cursor.nextset():
            pass
        connection.commit()


def adopt(url: str | Path, target: Path, *more: str) -> int:
    """Run the command, with an SQLite file as the target, and return its exit code."""
    source = f"sqlite:///{url}" if isinstance(url, Path) else url
    return main(["adopt", "cinderlib", "--url", source, "--into", f"sqlite:///{target}", *more])


def volumes(target: Path) -> dict[str, Volume]:
    """The adopted volumes by name."""
    return {volume.name: volume for volume in contents(target)[0]}


def contents(target: Path) -> tuple[list[Volume], list[Snapshot], list[Attachment], list[KeyValue]]:
    """All records but the program's own, each kind in the order of ids."""
    with read({"url": f"sqlite:///{target}"}, state_dir=target.parent, sealer=None) as store:
        own = [record for record in walk_all(store, KeyValue) if not record.id.startswith("csi-cinderlib.")]
        return list(walk_all(store, Volume)), list(walk_all(store, Snapshot)), list(walk_all(store, Attachment)), own
