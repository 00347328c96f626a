"""Identify pools: a directory whose disk is not mounted is not an empty pool (promise 27).

Each pool has an id, and each host records, outside the pool, the id that it found at a path. A disk that is not mounted, or a
different disk in its place, is therefore detected before anything is created or considered deleted.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from csi_cinderlib.host import kernel

LENGTH = 36
"""Bytes of an id: a UUID as text."""


class WrongPool(Exception):
    """The directory is not the expected pool, or is missing."""


def new_id() -> str:
    return str(uuid.uuid4())


def is_id(found: bytes) -> bool:
    try:
        return str(uuid.UUID(found.decode())) == found.decode()
    except ValueError:
        return False


class Memory:
    """Records the pool found at each path, and the pool that each back end used under each name.

    Stored in files below the driver's state path: `loopfile-pools/<hash of the path, or of the back end's and the pool's name>`.
    """

    def __init__(self, state_path: str) -> None:
        self._directory = Path(state_path, "loopfile-pools")

    def file(self, path: str) -> Path:
        return self._directory / hashlib.sha256(os.fsencode(path)).hexdigest()[:32]

    def recall(self, path: str) -> str:
        """The recorded id, or "". Raises OSError."""
        try:
            return self.file(path).read_text().partition("\n")[0]
        except FileNotFoundError:
            return ""

    def remember(self, path: str, id: str) -> None:
        """Durably. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file, new = self.file(path), self._directory / f".{uuid.uuid4()}"
        with new.open("w") as written:
            written.write(f"{id}\n{path}\n")
            written.flush()
            os.fsync(written.fileno())
        new.replace(file)
        for directory in (self._directory, self._directory.parent):
            with kernel.opened(str(directory), os.O_RDONLY | os.O_DIRECTORY) as fd:
                os.fsync(fd)


def decide(
    found: str | None,
    remembered: str,
    *,
    forget: Path,
    is_known: bool,
    recorded: Callable[[], Sequence[str]],
) -> bool:
    """Whether to create a pool in the directory, or assign an id to the pool there.

    Args:
        found: the id in the directory; "" for a pool made by a version without ids; None for no pool.
        remembered: the id found there before, or "".
        forget: the file with the remembered id, for the message.
        is_known: this back end has used that pool under the same name before.
        recorded: returns the files of the volumes recorded in this pool.

    Raises:
        WrongPool: the directory is not the expected pool.
    """
    if remembered and found != remembered:
        there = f"pool {found}" if found else "a pool without an id" if found == "" else "no pool"
        raise WrongPool(
            f"it was pool {remembered} and now holds {there}; check that the disk of that pool is mounted. "
            f"To use a different pool at this path, remove {forget}"
        )
    if not is_known and (files := recorded()) and not any(map(os.path.lexists, files)):
        raise WrongPool(
            f"it contains none of the {len(files)} volumes and snapshots recorded in this pool; check that its disk is mounted"
        )
    return not found
