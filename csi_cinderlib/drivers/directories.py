"""A directory of volume files that several processes and hosts may share. Raises OSError, and `NoRoom`.

A file appears under its name only when it is complete: it is made in `.incomplete` and linked into place. What a crash
leaves there carries no lock any more and is removed at the next start. `.lock` orders those who change the directory; in
it stands a number that each change raises, so that the sum of all sizes need not be counted anew when nobody else changed
anything, and then the pool's id: nothing is done in a directory that is not the pool it was at the start.
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
    """The directory may not promise that much more."""


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
    """Cinder's settings of that name."""

    max_over_subscription_ratio: float = 20.0
    reserved_percentage: float = 0.0

    def _promisable(self, now: Capacity) -> float:
        return now.total * self.max_over_subscription_ratio - now.provisioned

    def _backed(self, now: Capacity) -> float:
        reserved = now.total * self.reserved_percentage / 100
        return max(0.0, now.free - reserved) * self.max_over_subscription_ratio

    def largest(self, now: Capacity) -> float:
        """The most bytes that may be promised in addition: those to which `find_obstacle` finds none."""
        return max(0.0, min(self._promisable(now), self._backed(now)))

    def find_obstacle(self, now: Capacity, more: int) -> str:
        """Why `more` bytes may not be promised in addition; "" when they may."""
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
    """One pool."""

    def __init__(self, name: str, path: str, limits: Limits) -> None:
        self.name = name
        self.path = path
        self.limits = limits
        self._incomplete = str(Path(path, _INCOMPLETE))
        self._lock = str(Path(path, _LOCK))
        self._id = ""
        self._counted: tuple[bytes, int] | None = None
        """The number in the lock file, and the sum of all sizes as of then."""

    def identify(self, memory: Memory, place: str, recorded: Callable[[], Sequence[str]]) -> None:
        """Use the pool only if it is the one that it should be.

        Args:
            place: the back end, and the name under which it uses the pool.
            recorded: asks for the files of the volumes that are recorded there.

        Raises:
            WrongPool: it is not.
        """
        remembered, used = memory.recall(self.path), memory.recall(place)
        found = self.find_id()
        is_new = decide(
            self.path,
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
            with _full_disk_ignored():  # then the records are asked again at the next start
                memory.remember(place, id)
        self.prepare(id)

    def find_id(self) -> str | None:
        """The id of the pool that is here: "" when it has none, None when there is no pool."""
        try:
            with kernel.opened(self._lock, os.O_RDONLY) as fd:
                return _id(fd)
        except FileNotFoundError:
            return None

    def prepare(self, id: str) -> None:
        """Use the pool of that id from now on: prove that it can be written to, unless it is full, and remove what a crash left.

        Raises:
            WrongPool: another one is here.
        """
        self._id = id
        Path(self._incomplete).mkdir(mode=0o700, exist_ok=True)
        with self._changing():
            with _full_disk_ignored(), self.incomplete("probe") as (fd, _):
                os.fsync(fd)
            for entry in Path(self._incomplete).iterdir():
                _remove_abandoned(entry)

    def initialise(self) -> str:
        """Make the directory a pool, or give one without an id its own. Of several hosts at once the first decides. The id."""
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
        """Only one at a time, on all hosts. Short: nothing that waits for data is done inside.

        While the lock is open its file system is not unmounted, except lazily: what is not found is looked for again, therefore.

        Raises:
            WrongPool: this is not the pool, or not any more.
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
        """Raises WrongPool when this is not the pool, or not any more."""
        os.close(self._open_lock())

    @contextlib.contextmanager
    def incomplete(self, name: str) -> Iterator[tuple[int, str]]:
        """A new file that is not in the directory yet, open for writing; gone afterwards unless it was published."""
        self.check()
        file = f"{name}.{uuid.uuid4()}"
        # By the directory's descriptor it can be removed also when its disk was unmounted meanwhile.
        with kernel.opened(self._incomplete, os.O_RDONLY | os.O_DIRECTORY) as directory:
            path = str(Path(self._incomplete, file))
            try:
                fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # somebody is at work here
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
        hole = not state.st_blocks  # no data to lose: one commit of the journal does for the file and its name
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
        """Put a complete file in the place of another one of the same size, durably."""
        fd, path = file
        os.fsync(fd)
        with self._changing():
            Path(path).replace(self.file(name))
        self.sync()

    def remove(self, name: str) -> bool:
        """Take a file away, durably. False when it was not there."""
        with self._changing() as lock:
            try:
                size = Path(self.file(name)).stat().st_size
            except FileNotFoundError:
                self.check()  # nothing is gone where the pool has gone
                return False
            known = self._provisioned(lock)
            with _full_disk_ignored():  # then others count what is gone until the next change
                self._changed(lock, known)
            Path(self.file(name)).unlink()
            self._note(lock, known - size)
        self.sync()
        return True

    def resize(self, name: str, size: int) -> None:
        """Let a file become `size` bytes long, durably, if it is shorter. Raises NoRoom."""
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
        """Raises FileExistsError."""
        with self._changing():
            self._name(self.file(name), new_name)
            with contextlib.suppress(FileNotFoundError):
                Path(self.file(name)).unlink()
        self.sync()

    def _name(self, path: str, name: str) -> None:
        """Fails when the name is taken, by the file system's own rule where it has one: locks may not reach other hosts."""
        try:
            os.link(path, self.file(name))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
            if os.path.lexists(self.file(name)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
            Path(path).rename(self.file(name))

    def check_room(self, more: int) -> None:
        """Fail early: `publish` and `resize` ask again. Raises NoRoom."""
        with self._changing() as lock:
            self._promise(lock, more)

    def capacity(self, *, count_anew: bool = False) -> Capacity:
        """Total, free and promised bytes; `count_anew` sees also what others put here or took away by hand."""
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
        """Everybody else counts anew: written before the change, so that a crash in between costs a count, no more."""
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
        """Raises WrongPool: a pool that is not here is not an empty one."""
        found = os.path.lexists(self.file(name))
        self.check()
        return found

    def sync(self) -> None:
        """Names that were given or taken away are on the disk."""
        with kernel.opened(self.path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)


@contextlib.contextmanager
def _full_disk_ignored() -> Iterator[None]:
    """Deletion has to go on."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise


def _id(fd: int) -> str:
    """In a pool's open lock file, behind the number; "" where there is none, or a power cut left a part of one."""
    found = os.pread(fd, identities.LENGTH, _GENERATION)
    return found.decode() if identities.is_id(found) else ""


def _remove_abandoned(entry: Path) -> None:
    """A file that nobody holds locked is nobody's work any more: its process ended, on whichever host."""
    try:
        with kernel.opened(str(entry), os.O_RDWR) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            entry.unlink()
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            raise
