"""Cinder's NFS driver on local directories: everything of it runs, except that no share is mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cinder import interface
from cinder.volume.drivers.nfs import NfsDriver


@interface.volumedriver
class LocalNfsDriver(NfsDriver):  # type: ignore[misc]  # Cinder has no types
    """A share's mount point is a plain directory, which is made when it would be mounted."""

    def do_setup(self, context: Any) -> None:
        self._load_shares_config(self.configuration.nfs_shares_config)

    def _ensure_share_mounted(self, nfs_share: str, mnt_flags: Any = None) -> None:
        Path(self._get_mount_point_for_share(nfs_share)).mkdir(parents=True, exist_ok=True)
