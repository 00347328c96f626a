"""Which place a path means that a call gives: decided here for staging, target and volume paths alike."""

from __future__ import annotations

import json
import os
from pathlib import Path

from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.host import kernel, resolving

_NOTE = "vol_data.json"
"""The kubelet's own note about a CSI volume (pkg/volume/csi in Kubernetes), which it removes after NodeUnpublishVolume."""


class Paths:
    """Gives each place one name.

    Args:
        directory: all paths must lie below it, for example the kubelet's directory. It may lie under a symbolic link, which is
            resolved once; "" allows every path.
    """

    def __init__(self, directory: str = "") -> None:
        self._given = "/" + "/".join(_parts(directory))
        self._real = os.path.realpath(self._given)

    def resolve(self, path: str, field: str) -> str:
        """The path without superfluous slashes, below the real name of the directory.

        Raises:
            InvalidRequest: not absolute, not below the directory, or it leads through a symbolic link or upwards.
            HostError: nobody can tell just now.
        """
        if not path.startswith("/") or ".." in _parts(path) or not _parts(path):
            raise InvalidRequest(field, f"{path!r} must be absolute and must not lead upwards")
        plain = "/" + "/".join(_parts(path))
        for base in (self._given, self._real):
            if below := _below(base, plain):
                with kernel.named(f"looking for links in {plain}"):
                    link = resolving.link_below(self._real, below)
                if link:
                    raise InvalidRequest(
                        field, f"{link} is a symbolic link; mounts are not made or removed through links"
                    )
                return f"{self._real.rstrip('/')}/{below}"
        raise InvalidRequest(field, f"{path!r} is not below {self._given}, which is the setting kubelet_directory")

    def known(self, path: str) -> str:
        """The one name of a path that was noted; one that `resolve` refuses keeps the name that it has."""
        try:
            return self.resolve(path, "path")
        except InvalidRequest:
            return path

    def locate(self, path: str, kind: str) -> str:
        """`resolve` for the path of something that should be there.

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
    """Whether one of two resolved paths is the other, or lies inside it."""
    return one == other or bool(_below(one, other) or _below(other, one))


def is_noted_by_kubelet(target: str, volume_id: str) -> bool:
    """Whether the kubelet's note beside a resolved target path names this volume. It outlives the driver's own records."""
    try:
        noted = json.loads(_note(Path(target)).read_bytes())
        return bool(noted["volumeHandle"] == volume_id)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _note(target: Path) -> Path:
    """Beside `.../volumes/kubernetes.io~csi/NAME/mount`; of `.../volumeDevices/publish/NAME/POD` in a directory of its own."""
    if target.parent.parent.name == "publish":
        return target.parent.parent.parent / target.parent.name / "data" / _NOTE
    return target.parent / _NOTE
