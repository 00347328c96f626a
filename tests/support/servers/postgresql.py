"""A PostgreSQL of a test's own."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tests.support.servers.server import PASSWORD, Server, find


class PostgreSQL(Server):
    account = "postgres"
    package = "postgresql-15"
    stop_signal = signal.SIGINT  # or it would wait for its clients
    system_database = "postgres"
    create_options = "OWNER csi"
    drop_options = "WITH (FORCE)"

    def __init__(self) -> None:
        versions = [f"/usr/lib/postgresql/{version}/bin" for version in (18, 17, 16, 15, 14, 13)]
        self._initdb = find("initdb", self.package, *versions)
        self._postgres = find("postgres", self.package, *versions)
        self._pg_dump = find("pg_dump", self.package, *versions)
        super().__init__()

    @property
    def url(self) -> str:
        return f"postgresql://csi:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/csi"

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "max_connections": 60,
        }
        return [
            self._postgres,
            "-D",
            f"{self.directory}/data",
            *(f"-c{name}={value}" for name, value in settings.items()),
        ]

    def initialize(self) -> None:
        # A locale of its own kind of order: the store must not depend on it.
        locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=de"]
        auth = ["--auth-host=scram-sha-256", "--auth-local=trust", "--username=admin"]
        self.run([self._initdb, "--no-sync", "-D", f"{self.directory}/data", *auth, *locale])
        self.start()
        self.query(f"CREATE ROLE csi LOGIN PASSWORD '{PASSWORD}'", database="postgres")
        self.query("CREATE DATABASE csi OWNER csi", database="postgres")

    def connect(self, database: str) -> Any:
        import psycopg

        return psycopg.connect(
            host=str(self.directory), port=self.port, user="admin", dbname=database, autocommit=True, connect_timeout=60
        )

    def connect_as_owner(self) -> Any:
        import psycopg

        return psycopg.connect(self.url, autocommit=True)

    def dump(self) -> bytes:
        return self.run(
            [self._pg_dump, "--host", str(self.directory), "--port", str(self.port), "--username", "admin", "csi"]
        )
