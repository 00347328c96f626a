"""Resolution of the paths in calls: staging, target and volume paths."""

from __future__ import annotations

import json
import os
from pathlib import Path

from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.host import kernel, resolving

_NOTE = "vol_data.json"
"""The kubelet's own file about a CSI volume (pkg/volume/csi in Kubernetes). It removes the file after NodeUnpublishVolume."""


class Paths:
    """Gives each location one canonical path.

    Args:
        directory: all paths must be below it, for example the kubelet's directory. Symbolic links in it are resolved once.
            "" allows every path.
    """

    def __init__(self, directory: str = "") -> None:
        self._given = "/" + "/".join(_parts(directory))
        self._real = os.path.realpath(self._given)

    def resolve(self, path: str, field: str) -> str:
        """The canonical path, below the resolved directory.

        Raises:
            InvalidRequest: the path is not absolute, is not below the directory, or contains `..` or a symbolic link.
            HostError: the path cannot be examined now.
        """
        if not path.startswith("/") or ".." in _parts(path) or not _parts(path):
            raise InvalidRequest(field, f"must be an absolute path without '..' (got {path!r})")
        plain = "/" + "/".join(_parts(path))
        for base in (self._given, self._real):
            if below := _below(base, plain):
                with kernel.named(f"cannot check {plain} for symbolic links"):
                    link = resolving.link_below(self._real, below)
                if link:
                    raise InvalidRequest(
                        field, f"must not contain a symbolic link (got {plain!r}, with the link {link})"
                    )
                return f"{self._real.rstrip('/')}/{below}"
        raise InvalidRequest(field, f"must be below {self._given}, the setting kubelet_directory (got {path!r})")

    def known(self, path: str) -> str:
        """The canonical form of a recorded path; a path that `resolve` refuses is returned unchanged."""
        try:
            return self.resolve(path, "path")
        except InvalidRequest:
            return path

    def locate(self, path: str, kind: str) -> str:
        """`resolve` for a path that should exist.

        Raises:
            NotFound: not absolute.
            InvalidRequest: as `resolve`.
        """
        if not path.startswith("/"):
            raise NotFound(kind.replace("_", " "), path)
        return self.resolve(path, kind)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _below(base: str, path: str) -> str:
    prefix = base.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else ""


def overlap(one: str, other: str) -> bool:
    """Whether two resolved paths are equal, or one contains the other."""
    return one == other or bool(_below(one, other) or _below(other, one))


def is_noted_by_kubelet(target: str, volume_id: str) -> bool:
    """Whether the kubelet's file for a resolved target path names this volume. It may outlive the driver's own record."""
    try:
        noted = json.loads(_note(Path(target)).read_bytes())
        return bool(noted["volumeHandle"] == volume_id)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _note(target: Path) -> Path:
    """Next to `.../volumes/kubernetes.io~csi/NAME/mount`; for `.../volumeDevices/publish/NAME/POD` in a `data` directory."""
    if target.parent.parent.name == "publish":
        return target.parent.parent.parent / target.parent.name / "data" / _NOTE
    return target.parent / _NOTE
