"""A MariaDB of a test's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tests.support.servers.server import PASSWORD, Server, find


class MariaDB(Server):
    account: str | None = "mysql"
    package = "mariadb-server"
    system_database = "mysql"

    def __init__(self) -> None:
        self._install = find("mariadb-install-db", self.package, "/usr/bin")
        self._mariadbd = find("mariadbd", self.package, "/usr/sbin")
        self._dump = find("mariadb-dump", self.package, "/usr/bin")
        super().__init__()

    @property
    def url(self) -> str:
        return f"mysql://csi:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/csi"

    @property
    def _socket(self) -> str:
        return f"{self.directory}/socket"

    def command(self) -> Sequence[str]:
        # latin1: the store must not depend on the server's character set.
        return [
            self._mariadbd, "--no-defaults", f"--datadir={self.directory}/data", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--socket={self._socket}", f"--pid-file={self.directory}/pid", "--character-set-server=latin1", "--skip-name-resolve",
        ]  # fmt: skip

    def initialize(self) -> None:
        self.run([
            self._install, "--no-defaults", f"--datadir={self.directory}/data", "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])  # fmt: skip
        self.start()
        self._create_database()

    def _create_database(self) -> None:
        self.query("CREATE DATABASE csi", database="mysql")
        self.query(f"CREATE USER csi@'%' IDENTIFIED BY '{PASSWORD}'", database="mysql")
        self.query("GRANT ALL ON csi.* TO csi@'%'", database="mysql")

    def connect(self, database: str) -> Any:
        import pymysql

        return pymysql.connect(
            unix_socket=self._socket, user="root", database=database, autocommit=True, connect_timeout=60
        )

    def connect_as_owner(self) -> Any:
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="csi", password=PASSWORD, database="csi", autocommit=True
        )

    def dump(self) -> bytes:
        return self.run(
            [self._dump, "--no-defaults", f"--socket={self._socket}", "--user=root", "--hex-blob", "--databases", "csi"]
        )
