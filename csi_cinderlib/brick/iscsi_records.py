"""Write CHAP passwords to open-iscsi's records, since every user of the host can read the arguments of a running `iscsiadm`.

os-brick sets them with `iscsiadm --op update -n node.session.auth.password -v PASSWORD`, the only way that iscsiadm supports
(open-iscsi 2.1). iscsiadm only writes a line to a file that root alone can read, and reads it at login. This module adds that
line. A later line of a record overrides an earlier one, and the next update by iscsiadm removes the duplicate.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from csi_cinderlib.brick import tools
from csi_cinderlib.host import kernel, resolving

HOMES = ("etc/iscsi", "var/lib/iscsi")
"""The directories of iscsiadm's records: the first on Debian, Ubuntu, SUSE and Flatcar, the second on Red Hat and derivatives."""
_PASSWORD = re.compile(r"\.auth\.password(_in)?$")
_PORTAL = re.compile(
    r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<address>[^,\[\]:]+|[^,\[\]]*:[^,\[\]]*:[^,\[\]]*?))(?::(?P<port>\d+))?(?:,-?\d+)?"
)
_DEFAULT_PORT = "3260"


class NoRecord(Exception):
    """iscsiadm has no such record: exit code 21 (ISCSI_ERR_NO_OBJS_FOUND)."""


@dataclass(frozen=True, slots=True)
class Update:
    """A command that sets passwords.

    Attributes:
        argv: the command without the passwords; it sets the other values.
        passwords: the lines for the record.
    """

    argv: tuple[str, ...]
    passwords: tuple[str, ...]

    @property
    def sets_more(self) -> bool:
        return "-n" in self.argv


def parse(argv: tuple[str, ...]) -> Update:
    """Raises ValueError, without the password, if open-iscsi could not read the password back from a line."""
    rest: list[str] = []
    passwords: list[str] = []
    items = iter(argv)
    for item in items:
        rest.append(item)
        if item == "-v" and len(rest) > 2 and rest[-3] == "-n" and _PASSWORD.search(rest[-2]):
            passwords.append(f"{rest[-2]} = {_line(next(items, ''))}")
            del rest[-3:]
    return Update(tuple(rest), tuple(passwords))


LONGEST = 255
"""Bytes of a password: open-iscsi 2.1 reads a value into a buffer of 256 bytes without checking its length."""


def _line(password: str) -> str:
    problem = ""
    if any(ord(char) < 32 or ord(char) == 127 for char in password):
        problem = "contains a control character"
    elif password != password.strip(" "):
        problem = "begins or ends with a space"
    elif (size := len(password.encode())) > LONGEST:
        problem = f"is {size} bytes long, more than {LONGEST}"
    if problem:
        raise ValueError(f"CHAP password {problem}; open-iscsi cannot store it")
    return password


def store(update: Update, root: str = "") -> None:
    """Add the passwords to every record that the command selects.

    Args:
        root: the root of iscsiadm's file system; "" is the host's if the host's iscsiadm is used, else this process's.

    Raises:
        NoRecord: no record was found; names the directories searched.
        OSError: a record cannot be written.
    """
    root = root or (str(tools.HOST_ROOT) if tools.of_host("iscsiadm") else "/")
    lines = "".join(f"\n{line}" for line in update.passwords).encode() + b"\n"
    count = 0
    for home in HOMES:
        for record in _records(root, home, update.argv):
            _append(record, lines)
            count += 1
    if not count:
        raise NoRecord(f"No records found in {' or '.join(f'/{home}' for home in HOMES)}")


def _records(root: str, home: str, argv: tuple[str, ...]) -> Iterator[int]:
    """Open each record for appending."""
    is_node = _option(argv, "-m") == "node"
    where = f"{home}/nodes/{_plain(_option(argv, '-T'))}" if is_node else f"{home}/send_targets"
    wanted = _portal(_option(argv, "-p"))
    with contextlib.suppress(FileNotFoundError), _opened(root, where, os.O_RDONLY | os.O_DIRECTORY) as directory:
        for name in os.listdir(directory):  # noqa: PTH208 - of an open directory
            address, _, rest = name.partition(",")
            if (address.lower(), rest.partition(",")[0]) == wanted:
                yield from _below(directory, name)


def _below(directory: int, name: str) -> Iterator[int]:
    """The record itself, or the records in a directory: one for each interface."""
    state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(state.st_mode):
        with _opened_at(directory, name, os.O_WRONLY | os.O_APPEND) as record:
            yield record
        return
    with _opened_at(directory, name, os.O_RDONLY | os.O_DIRECTORY) as inner:
        for record_name in os.listdir(inner):  # noqa: PTH208 - of an open directory
            with (
                contextlib.suppress(IsADirectoryError),
                _opened_at(inner, record_name, os.O_WRONLY | os.O_APPEND) as record,
            ):
                yield record


def _append(record: int, lines: bytes) -> None:
    state = os.fstat(record)
    if not stat.S_ISREG(state.st_mode):
        return
    if state.st_mode & 0o077:
        os.fchmod(record, 0o600)  # before the password is written
    kernel.write(record, lines)


@contextlib.contextmanager
def _opened(root: str, path: str, flags: int) -> Iterator[int]:
    fd = resolving.open_in_root(root, path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened_at(directory: int, name: str, flags: int) -> Iterator[int]:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


def _option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1] if name in argv[:-1] else ""


def _plain(name: str) -> str:
    """Raises NoRecord for a name that would lead to a different directory."""
    if not name or "/" in name or name in (".", ".."):
        raise NoRecord("No records found")
    return name


def _portal(text: str) -> tuple[str, str]:
    """Address and port as in the names of records. Raises NoRecord."""
    found = _PORTAL.fullmatch(text)
    if found is None:
        raise NoRecord("No records found")
    return (found["bracketed"] or found["address"]).lower(), found["port"] or _DEFAULT_PORT
