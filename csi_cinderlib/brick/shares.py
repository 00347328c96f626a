"""Volumes that are files on a mounted share (NFS and similar). os-brick mounts the share but never unmounts it; this module does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csi_cinderlib.errors import InvalidRequest, OperationPending, Unsupported
from csi_cinderlib.host import kernel, mounts

HELD_SECONDS = 5.0
"""How long a call waits for another call to mount or unmount the same share."""
PROTOCOLS = frozenset({"nfs", "glusterfs", "quobyte", "scality", "vzstorage"})


class Shares:
    """The mount points of shares. As in os-brick, the directory's name is the MD5 of the export."""

    def __init__(self, base: Path, *, attached_files: Callable[[], tuple[str, ...]]) -> None:
        self.base = base
        self._attached_files = attached_files
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def options(self, protocol: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The additional arguments of os-brick's RemoteFsConnector."""
        return {"mount_type": protocol, f"{protocol}_mount_point_base": str(self.base), "conn": dict(data)}

    def file(self, data: Mapping[str, Any]) -> Path:
        """The volume's file once the share is mounted.

        Raises:
            InvalidRequest: export or name is missing, or the name is not a plain file name.
            Unsupported: the file is not raw, so the kernel cannot use it as a device.
        """
        export, name = data.get("export"), data.get("name")
        if not isinstance(export, str) or not isinstance(name, str) or not export or not name:
            raise InvalidRequest("publish_context", "connection to a share must contain export and name")
        if "/" in name or name in (".", ".."):
            raise InvalidRequest("publish_context", f"name on the share must be a plain file name (got {name!r})")
        if (form := data.get("format") or "raw") != "raw":
            raise Unsupported(f"unsupported volume file format {form!r} on {export}; supported: raw")
        return self._mount_point(export) / name

    @contextmanager
    def held(self, data: Mapping[str, Any]) -> Iterator[None]:
        """Keep other calls from unmounting the share while it is mounted and one of its files is attached.

        Raises:
            OperationPending: another call has held the share for some seconds.
        """
        export = str(data.get("export"))
        with self._guard:
            lock = self._locks.setdefault(export, threading.Lock())
        if not lock.acquire(timeout=HELD_SECONDS):
            raise OperationPending(f"another call is mounting or unmounting {export}")
        try:
            yield
        finally:
            lock.release()

    def prepare(self) -> None:
        """Make the base directory private to root: a share may contain setuid programs and device nodes.

        Raises HostError.
        """
        with kernel.named(f"cannot prepare {self.base}"):
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.base.stat().st_mode & 0o077:
                self.base.chmod(0o700)

    def leave(self, data: Mapping[str, Any]) -> None:
        """Unmount the share unless another volume of this node uses it. The caller must hold it."""
        where = self._mount_point(str(data.get("export")))
        if any(Path(file).is_relative_to(where) for file in self._attached_files()):
            return
        mounts.unmount(str(where))
        with kernel.named(f"cannot remove {where}"):
            if where.is_dir() and not os.listdir(where):  # noqa: PTH208 - empty or not is all we ask
                where.rmdir()

    def _mount_point(self, export: str) -> Path:
        import hashlib  # loads 3 MB of OpenSSL, which a node without shares does not need

        return self.base / hashlib.md5(export.encode(), usedforsecurity=False).hexdigest()
