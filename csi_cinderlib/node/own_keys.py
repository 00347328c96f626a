"""The keys of this node: created at its first start and stored on this host only, the newest first.

The public half of the newest key is registered. Older keys are kept to decrypt earlier connections: a connection is encrypted
once, when a volume is attached, and decrypted each time the volume is staged, until it is detached.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from csi_cinderlib import envelopes
from csi_cinderlib.envelopes import NodeKey
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel
from csi_cinderlib.node import durable_files

FILE = "node-keys.json"
_VERSION = 1
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class OwnKeys:
    """The key file below a state directory.

    Args:
        node: this node's name. A file that names another node comes from a copied disk or machine image; its keys are not
            used here.
    """

    def __init__(self, state_dir: Path, node: str) -> None:
        self.path = state_dir / FILE
        self.node = node

    def ensure(self) -> NodeKey:
        """The newest key, created if there is none. Raises HostError, as `read`."""
        return next(iter(self.read())) if self._has_own() else self.add()

    def read(self) -> tuple[NodeKey, ...]:
        """All keys, the newest first; empty if this node has not created any yet.

        Raises:
            HostError: the file cannot be read, is accessible to other users, or is damaged.
        """
        return self._parsed()[1] if self._has_own() else ()

    def by_id(self) -> Mapping[str, NodeKey]:
        """All keys by id."""
        return {key.id: key for key in self.read()}

    def add(self) -> NodeKey:
        """Add a new key as the newest. Raises HostError, as `read`."""
        with self._changing():
            key = envelopes.new_node_key()
            self._write((key, *self.read()))
        return key

    def forget_old(self) -> int:
        """Remove all keys except the newest and return their number. Data encrypted to them becomes unreadable."""
        with self._changing():
            newest, *old = self.read() or (None,)
            if newest is None or not old:
                return 0
            self._write((newest,))
        return len(old)

    def stamp(self) -> tuple[int, int]:
        """A value that changes with the file; (0, 0) if there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def _has_own(self) -> bool:
        return self.path.exists() and self._parsed()[0] == self.node

    def _parsed(self) -> tuple[str, tuple[NodeKey, ...]]:
        with kernel.named(f"cannot read {self.path}"), kernel.opened(str(self.path), _READING) as fd:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise HostError(
                    f"{self.path} must belong to the user of this process and be readable by no other user; its keys may be "
                    "known to others, so remove the file to have a new key created"
                )
            text = os.read(fd, status.st_size + 1)
        try:
            return _decoded(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise HostError(
                f"{self.path} is damaged or has an unsupported version; restore it, or remove it to have a new key created. "
                "After a removal, volumes attached to this node must be detached before they can be staged again"
            ) from None

    def _write(self, keys: tuple[NodeKey, ...]) -> None:
        listed = [{"private": key.private, "public": key.public} for key in keys]
        content = json.dumps({"v": _VERSION, "node": self.node, "keys": listed}).encode()
        with kernel.named(f"cannot store {self.path}"):
            durable_files.store(self.path, content)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Serialise changes, also between processes."""
        with (
            kernel.named(f"cannot lock {self.path.parent}"),
            kernel.opened(str(self.path.parent), os.O_RDONLY | os.O_DIRECTORY) as fd,
        ):
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield


def _decoded(text: bytes) -> tuple[str, tuple[NodeKey, ...]]:
    """The node's name and its keys. Raises ValueError, KeyError, TypeError, RecursionError."""
    raw = json.loads(text)
    keys = tuple(NodeKey(item["private"], item["public"]) for item in raw["keys"])
    if (
        raw["v"] != _VERSION
        or not keys
        or not all(envelopes.is_key(half) for key in keys for half in (key.private, key.public))
    ):
        raise ValueError
    return str(raw["node"]), keys
