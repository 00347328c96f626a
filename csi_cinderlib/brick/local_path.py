"""Volumes that already exist on this host: a device node, or a file that the initiator attaches to a loop device."""

from __future__ import annotations

from typing import Any, Protocol

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.host import devices


class Connector(Protocol):
    """The part of os-brick's connectors that this package uses."""

    def connect_volume(self, connection_properties: dict[str, Any]) -> dict[str, Any]:
        """Attach; the result contains the device's `path`."""

    def disconnect_volume(
        self,
        connection_properties: dict[str, Any],
        device_info: dict[str, Any],
        *,
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """Detach; `force` continues after a failed flush."""

    def extend_volume(self, connection_properties: dict[str, Any]) -> int | None:
        """Refresh the device's size."""


class LocalPath:
    """Replaces os-brick's LocalConnector and GPFSConnector, which only return a path but would cost 26 MB."""

    def connect_volume(self, connection_properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "local", "path": path_in(connection_properties)}

    def disconnect_volume(
        self,
        connection_properties: dict[str, Any],
        device_info: dict[str, Any],
        *,
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        del connection_properties, device_info, force, ignore_errors  # nothing was attached

    def extend_volume(self, connection_properties: dict[str, Any]) -> int | None:
        del connection_properties
        return None


def path_in(data: dict[str, Any]) -> str:
    """The path in a `local` connection. Raises InvalidRequest if it is missing."""
    path = data.get("device_path") or data.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidRequest("publish_context", "device_path of a local connection must be an absolute path")
    return path


def block_size_in(data: dict[str, Any]) -> int:
    """The logical block size that the driver wants for a file: 512, 1024, 2048 or 4096; else the default."""
    size = data.get("block_size")
    return size if size in (512, 1024, 2048, 4096) else devices.BLOCK_SIZE
