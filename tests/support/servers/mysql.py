"""A MySQL of a test's own; it takes the same statements as MariaDB, and the same client."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.servers.mariadb import MariaDB
from tests.support.servers.server import Server
from tools import lookup


class MySQL(MariaDB):
    account = None  # its programs lie in a folder that only this user may enter

    def __init__(self) -> None:
        programs = lookup.folder("mysql-server") / "bin"
        self._mysqld = f"{programs}/mysqld"
        self._dump = f"{programs}/mysqldump"
        self._plugins = f"{programs.parent}/usr/lib/mysql/plugin"
        self._messages = f"{programs.parent}/usr/share/mysql"
        Server.__init__(self)

    def command(self) -> Sequence[str]:
        return [
            self._mysqld, "--no-defaults", "--user=root", f"--datadir={self.directory}/data", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self._socket}", f"--pid-file={self.directory}/pid", f"--plugin-dir={self._plugins}",
            f"--lc-messages-dir={self._messages}", "--secure-file-priv=", "--mysqlx=OFF", "--skip-log-bin", "--character-set-server=latin1",
            "--skip-name-resolve",
        ]  # fmt: skip

    def initialize(self) -> None:
        self.run([*self.command(), "--initialize-insecure"])
        self.start()
        self._create_database()
