"""A share whose server can stop answering: a FUSE file system of one directory, served by a process of its own.

While it hangs it takes requests and never answers, so that whoever waits cannot even be killed, as on a hard NFS mount without a server.
When its process ends, the kernel fails all that waits, with ENOTCONN: so nothing is left waiting after a test.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DEVICE = Path("/dev/fuse")
ROOT = 1
LONGEST_HANG = 240.0
"""Seconds without an order, after which the server ends."""
_HEADER = struct.Struct("<IIQQIIIHH")
_ATTR = struct.Struct("<6Q10I")
_NO_REPLY = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET
_HELD: Mapping[str, Collection[int]] = {"answer": (), "hang": range(1, 64), "hang data": (15, 16)}  # READ, WRITE
"""What is not answered after an order."""
_MOST = 1 << 20


class Share:
    """A mounted share.

    Attributes:
        path: where it is mounted.
        files: the directory that it shows.
    """

    def __init__(self, path: Path, files: Path) -> None:
        self.path = path
        self.files = files
        path.mkdir()
        files.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fuse_share", str(path), str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self._tell("")

    def hang(self) -> None:
        """From now on nothing is answered. May be ordered again, which is a sign of life: see LONGEST_HANG."""
        self._tell("hang")

    def hang_data(self) -> None:
        """From now on nothing is read or written, although the share answers all other questions."""
        self._tell("hang data")

    def wait_until_asked(self) -> None:
        """Until it received a request that it does not answer: whoever asked waits, and cannot be killed."""
        self._tell("asked?")

    def answer(self) -> None:
        """Answer what was asked meanwhile, and go on."""
        self._tell("answer")

    def die(self) -> None:
        """The server ends: everything fails from now on (ENOTCONN)."""
        self._server.kill()
        self._server.communicate()

    def _tell(self, order: str) -> None:
        assert self._server.stdin
        assert self._server.stdout
        if order:
            self._server.stdin.write(f"{order}\n".encode())
            self._server.stdin.flush()
        assert self._server.stdout.readline() == b"ok\n"


@contextmanager
def shared(base: Path, name: str = "share") -> Iterator[Share]:
    """A share below a directory; whatever waits for it is set free in the end, and its mount is gone."""
    if not DEVICE.exists():
        pytest.skip("needs FUSE, and there is no /dev/fuse")
    share = Share(base / name, base / f"files-of-{name}")
    try:
        yield share
    finally:
        share.die()
        ctypes.CDLL(None).umount2(os.fsencode(share.path), 2)  # MNT_DETACH


class Server:
    """Answers the kernel (linux/fuse.h, protocol 7.31)."""

    def __init__(self, fuse: int, files: Path) -> None:
        self._fuse = fuse
        self._files = files
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._held: Collection[int] = ()
        self._kept: list[bytes] = []

    def serve(self) -> None:
        while not (request := self._request()):
            select.select([self._fuse], [], [])
        self._answer(request)  # INIT, before which the kernel lets nobody ask
        os.write(1, b"ok\n")
        while True:
            readable, _, _ = select.select([0, self._fuse], [], [], LONGEST_HANG if self._held else None)
            if not readable:
                return  # a test that was killed, or waits for this
            if self._fuse in readable:
                self._take()
            if 0 in readable:
                order = os.read(0, 100).decode().strip()
                if not order:
                    return
                self._obey(order)
                os.write(1, b"ok\n")

    def _obey(self, order: str) -> None:
        if order != "asked?":
            self._held = _HELD[order]
        while order == "asked?" and not self._kept:
            select.select([self._fuse], [], [])
            self._take()
        while self._kept and not self._held:
            self._answer(self._kept.pop(0))

    def _take(self) -> None:
        if not (request := self._request()):
            return
        opcode = _HEADER.unpack_from(request)[1]
        if opcode in self._held and opcode not in _NO_REPLY:  # nobody waits for what gets no reply
            self._kept.append(request)
        else:
            self._answer(request)

    def _request(self) -> bytes:
        """Nothing when it was taken back, because whoever asked was killed meanwhile."""
        with suppress(BlockingIOError):
            return os.read(self._fuse, _MOST + 4096)
        return b""

    def _answer(self, request: bytes) -> None:
        _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
        if opcode in _NO_REPLY:
            return
        try:
            body, error = self._do(opcode, node, request[_HEADER.size :]), 0
        except OSError as failure:
            body, error = b"", failure.errno or errno.EIO
        os.write(self._fuse, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)

    def _do(self, opcode: int, node: int, body: bytes) -> bytes:
        match opcode:
            case 1:  # LOOKUP
                return self._entry(os.fsdecode(body.rstrip(b"\0")))
            case 3:  # GETATTR
                return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
            case 4:  # SETATTR
                if struct.unpack_from("<I", body)[0] & 8:
                    os.truncate(self._path(node), struct.unpack_from("<Q", body, 16)[0])
                return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
            case 14 | 27:  # OPEN, OPENDIR
                return struct.pack("<QII", 0, 0, 0)
            case 15:  # READ
                _, offset, size = struct.unpack_from("<QQI", body)
                return self._read(node, size, offset)
            case 16:  # WRITE
                _, offset, size = struct.unpack_from("<QQI", body)
                return struct.pack("<II", self._write(node, body[40 : 40 + size], offset), 0)
            case 17:  # STATFS
                return struct.pack("<5Q4I24x", 1 << 20, 1 << 19, 1 << 19, 1000, 900, 4096, 255, 4096, 0)
            case 26:  # INIT
                return struct.pack("<IIIIHHIIHHI28x", 7, 31, _MOST, 0, 64, 48, _MOST, 1, 0, 0, 0)
            case 28:  # READDIR
                return self._entries(struct.unpack_from("<QQ", body)[1])
            case 18 | 20 | 25 | 29 | 34 | 38:  # RELEASE, FSYNC, FLUSH, RELEASEDIR, ACCESS, DESTROY
                return b""
        raise OSError(errno.ENOSYS, "not here")

    def _path(self, node: int) -> Path:
        return self._files / self._names.get(node, "") if node != ROOT else self._files

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self._numbers) + ROOT + 1)
        self._names[number] = name
        return number

    def _entry(self, name: str) -> bytes:
        (self._files / name).stat()
        number = self._number(name)
        return struct.pack("<4Q2I", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _attributes(self, node: int) -> bytes:
        found = self._path(node).stat()
        mode = found.st_mode if stat.S_ISREG(found.st_mode) else stat.S_IFDIR | 0o755
        return _ATTR.pack(
            node, found.st_size, found.st_blocks, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0
        )  # fmt: skip

    def _read(self, node: int, size: int, offset: int) -> bytes:
        with self._path(node).open("rb") as file:
            return os.pread(file.fileno(), size, offset)

    def _write(self, node: int, content: bytes, offset: int) -> int:
        with self._path(node).open("r+b") as file:
            return os.pwrite(file.fileno(), content, offset)

    def _entries(self, offset: int) -> bytes:
        if offset:
            return b""
        answer = b""
        for place, path in enumerate(sorted(self._files.iterdir()), 1):
            name = os.fsencode(path.name)
            entry = struct.pack("<QQII", self._number(path.name), place, len(name), 8) + name
            answer += entry + bytes(-len(entry) % 8)
        return answer


def main(path: str, files: str) -> None:
    fuse = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    data = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"server:/share", os.fsencode(path), b"fuse", 0, data.encode()):
        raise OSError(ctypes.get_errno(), "mounting a FUSE file system")
    Server(fuse, Path(files)).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
