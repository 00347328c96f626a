"""A directory of volume files that several processes and hosts may share. Raises OSError, and `NoRoom`.

A file gets its name only when it is complete: it is written in `.incomplete` and then linked into place. Files that a crash
leaves in `.incomplete` are not locked, so the next start removes them. `.lock` serialises changes to the directory. It holds
a generation number followed by the pool's id. Each change increments the number, so a process recounts the sum of all sizes
only after another process has changed the directory. Every operation checks the id: the pool must be the one found at start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.drivers import identities
from csi_cinderlib.drivers.identities import Memory, WrongPool, decide
from csi_cinderlib.host import kernel
from csi_cinderlib.host.reserve import is_full

_INCOMPLETE = ".incomplete"
_LOCK = ".lock"
_GENERATION = 8
"""Bytes."""


class NoRoom(Exception):
    """The directory's limits do not allow that many more bytes."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bytes.

    Attributes:
        provisioned: the sum of the sizes of all files, holes included.
    """

    total: int
    free: int
    provisioned: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Cinder's options of the same names."""

    max_over_subscription_ratio: float = 20.0
    reserved_percentage: float = 0.0

    def _promisable(self, now: Capacity) -> float:
        return now.total * self.max_over_subscription_ratio - now.provisioned

    def _backed(self, now: Capacity) -> float:
        reserved = now.total * self.reserved_percentage / 100
        return max(0.0, now.free - reserved) * self.max_over_subscription_ratio

    def largest(self, now: Capacity) -> float:
        """The most bytes that may be provisioned in addition, that is, for which `find_obstacle` returns ""."""
        return max(0.0, min(self._promisable(now), self._backed(now)))

    def find_obstacle(self, now: Capacity, more: int) -> str:
        """Why `more` bytes may not be provisioned in addition; "" if they may, or if they are none, also in a pool below its reserve."""
        if more <= 0:
            return ""
        ratio = self.max_over_subscription_ratio
        if more > self._promisable(now):
            return (
                f"another {_gib(more)} would exceed the capacity: {_gib(now.provisioned)} provisioned of {_gib(now.total)} "
                f"at max_over_subscription_ratio {ratio:g}"
            )
        if more > self._backed(now):
            return (
                f"another {_gib(more)} would exceed the free space: {_gib(now.free)} free, {self.reserved_percentage:g} % "
                f"of the total reserved, at max_over_subscription_ratio {ratio:g}"
            )
        return ""


def _gib(size: float) -> str:
    return f"{size / 1024**3:.2f} GiB"


class Directory:
    """One pool. `allocates`: its file system can allocate the space of thick volumes."""

    allocates = True

    def __init__(self, name: str, path: str, limits: Limits) -> None:
        self.name = name
        self.path = path
        self.limits = limits
        self._incomplete = str(Path(path, _INCOMPLETE))
        self._lock = str(Path(path, _LOCK))
        self._id = ""
        self._counted: tuple[bytes, int] | None = None
        """The generation number in the lock file, and the sum of all sizes at that generation."""

    def identify(self, memory: Memory, place: str, recorded: Callable[[], Sequence[str]]) -> None:
        """Use the pool only if it is the expected one.

        Args:
            place: the back end and the name by which it uses the pool.
            recorded: returns the files of the volumes recorded in this pool.

        Raises:
            WrongPool: it is a different pool.
        """
        remembered, used = memory.recall(self.path), memory.recall(place)
        found = self.find_id()
        is_new = decide(
            found,
            remembered,
            forget=memory.file(self.path),
            is_known=bool(remembered) and used == remembered,
            recorded=recorded,
        )
        id = self.initialise() if is_new else str(found)
        if id != remembered:
            memory.remember(self.path, id)
        if id != used:
            with _full_disk_ignored():  # the next start then checks the records again
                memory.remember(place, id)
        self.prepare(id)

    @property
    def id(self) -> str:
        """The id of the pool, which no other directory has."""
        return self._id

    def find_id(self) -> str | None:
        """The id of the pool in this directory: "" if it has none, None if there is no pool."""
        try:
            with kernel.opened(self._lock, os.O_RDONLY) as fd:
                return _id(fd)
        except FileNotFoundError:
            return None

    def prepare(self, id: str) -> None:
        """Use the pool with this id: check that it is writable, unless it is full, and remove files left by a crash.

        Raises:
            WrongPool: the directory holds a different pool.
        """
        self._id = id
        Path(self._incomplete).mkdir(mode=0o700, exist_ok=True)
        with self._changing():
            with _full_disk_ignored(), self.incomplete("probe") as (fd, _):
                os.fsync(fd)
            for entry in Path(self._incomplete).iterdir():
                _remove_abandoned(entry)

    def initialise(self) -> str:
        """Create the pool, or assign an id to a pool without one. If several hosts do so at once, the first wins. Returns the id."""
        Path(self._incomplete).mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _id(fd):
                os.pwrite(fd, identities.new_id().encode(), _GENERATION)
                os.fsync(fd)
            return _id(fd)
        finally:
            os.close(fd)
            self.sync()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[int]:
        """Hold the pool's lock, exclusively across all hosts. Keep the block short: no data I/O inside.

        While the lock file is open its file system can only be unmounted lazily, so callers check again for a file that is not found.

        Raises:
            WrongPool: the directory is not, or no longer, this pool.
        """
        fd = self._open_lock()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _open_lock(self) -> int:
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise WrongPool(
                f"{self.path} is no longer a pool; check that the disk of pool {self._id} is mounted"
            ) from None
        if (found := _id(fd)) != self._id:
            os.close(fd)
            there = f"pool {found}" if found else "a pool without an id"
            raise WrongPool(
                f"{self.path} holds {there} instead of pool {self._id}; check that the disk of that pool is mounted"
            )
        return fd

    def check(self) -> None:
        """Raises WrongPool if the directory is not, or no longer, this pool."""
        os.close(self._open_lock())

    @contextlib.contextmanager
    def incomplete(self, name: str) -> Iterator[tuple[int, str]]:
        """A new file open for writing, not yet visible in the directory; it is removed afterwards unless it was published."""
        self.check()
        file = f"{name}.{uuid.uuid4()}"
        # With the directory's descriptor the file can be removed even if its disk was unmounted in the meantime.
        with kernel.opened(self._incomplete, os.O_RDONLY | os.O_DIRECTORY) as directory:
            path = str(Path(self._incomplete, file))
            try:
                fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # marks the file as in use
                yield fd, path
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=directory)
                os.close(fd)

    def publish(self, file: tuple[int, str], name: str) -> None:
        """Give a complete file its name in the directory, durably.

        Raises:
            FileExistsError: the name is taken.
            NoRoom: the limits forbid it.
        """
        fd, path = file
        state = os.fstat(fd)
        hole = not state.st_blocks  # no data to lose: one journal commit covers the file and its name
        if not hole:
            os.fsync(fd)
        with self._changing() as lock:
            known = self._promise(lock, state.st_size)
            self._changed(lock, known)
            self._name(path, name)
            self._note(lock, known + state.st_size)
        if hole:
            os.fsync(fd)
        self.sync()

    def replace(self, file: tuple[int, str], name: str) -> None:
        """Replace a file of the same size with a complete file, durably."""
        fd, path = file
        os.fsync(fd)
        with self._changing():
            Path(path).replace(self.file(name))
        self.sync()

    def remove(self, name: str) -> bool:
        """Remove a file, durably. False if it did not exist."""
        with self._changing() as lock:
            try:
                size = Path(self.file(name)).stat().st_size
            except FileNotFoundError:
                self.check()  # a missing pool does not mean a deleted file
                return False
            known = self._provisioned(lock)
            with _full_disk_ignored():  # other processes then count the removed file until the next change
                self._changed(lock, known)
            Path(self.file(name)).unlink()
            self._note(lock, known - size)
        self.sync()
        return True

    def resize(self, name: str, size: int) -> None:
        """Extend a file to `size` bytes, durably, if it is shorter. Raises NoRoom."""
        with kernel.opened(self.file(name), os.O_RDWR) as fd:
            with self._changing() as lock:
                more = size - os.fstat(fd).st_size
                if more > 0:
                    known = self._promise(lock, more)
                    self._changed(lock, known)
                    os.ftruncate(fd, size)
                    self._note(lock, known + more)
            os.fsync(fd)

    def rename(self, name: str, new_name: str) -> None:
        """Also completes an interrupted renaming, which leaves both names. Raises FileExistsError: another file has the new name."""
        with self._changing():
            try:
                self._name(self.file(name), new_name)
            except FileExistsError:
                if not Path(self.file(name)).samefile(self.file(new_name)):
                    raise
            with contextlib.suppress(FileNotFoundError):
                Path(self.file(name)).unlink()
        self.sync()

    def _name(self, path: str, name: str) -> None:
        """Fail if the name is taken. Relies on link(2) where the file system supports it: locks may not reach other hosts."""
        try:
            os.link(path, self.file(name))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            if os.path.lexists(self.file(name)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
            Path(path).rename(self.file(name))

    def check_room(self, more: int) -> None:
        """Fail early; `publish` and `resize` check again. Raises NoRoom."""
        with self._changing() as lock:
            self._promise(lock, more)

    def capacity(self, *, count_anew: bool = False) -> Capacity:
        """Total, free and provisioned bytes; `count_anew` includes files that were added or removed by hand."""
        with self._changing() as lock:
            if count_anew:
                self._counted = None
            return self._capacity(self._provisioned(lock))

    def _capacity(self, provisioned: int) -> Capacity:
        state = os.statvfs(self.path)
        unit = state.f_frsize
        return Capacity(total=state.f_blocks * unit, free=state.f_bavail * unit, provisioned=provisioned)

    def _promise(self, lock: int, more: int) -> int:
        known = self._provisioned(lock)
        if obstacle := self.limits.find_obstacle(self._capacity(known), more):
            raise NoRoom(f"pool {self.name!r} ({self.path}): {obstacle}")
        return known

    def _provisioned(self, lock: int) -> int:
        generation = os.pread(lock, _GENERATION, 0)
        if self._counted is None or self._counted[0] != generation:
            self._counted = generation, sum(size for _, size in self.files())
        return self._counted[1]

    def _changed(self, lock: int, known: int) -> None:
        """Make all other processes recount. Called before the change, so a crash in between costs only a recount."""
        number = int.from_bytes(os.pread(lock, _GENERATION, 0), "little") + 1
        generation = number.to_bytes(_GENERATION, "little")
        os.pwrite(lock, generation, 0)
        self._counted = generation, known

    def _note(self, lock: int, provisioned: int) -> None:
        self._counted = os.pread(lock, _GENERATION, 0), provisioned

    def files(self) -> Iterator[tuple[str, int]]:
        """Names and sizes of all files that may be volumes or snapshots."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.name, entry.stat(follow_symlinks=False).st_size

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    def holds(self, name: str) -> bool:
        """Raises WrongPool, since a missing pool is not an empty pool."""
        found = os.path.lexists(self.file(name))
        self.check()
        return found

    def sync(self) -> None:
        """Write added and removed names to disk."""
        with kernel.opened(self.path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)


@contextlib.contextmanager
def _full_disk_ignored() -> Iterator[None]:
    """Deletion must work on a full disk."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise


def _id(fd: int) -> str:
    """The id in a pool's open lock file, after the number; "" if it is missing or a power cut truncated it."""
    found = os.pread(fd, identities.LENGTH, _GENERATION)
    return found.decode() if identities.is_id(found) else ""


def _remove_abandoned(entry: Path) -> None:
    """Remove a file that is not locked: the process that wrote it, on any host, has ended."""
    try:
        with kernel.opened(str(entry), os.O_RDWR) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            entry.unlink()
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            raise
