"""The options of the file driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cinder import exception
from oslo_config import cfg

from csi_cinderlib.host import devices

OPTIONS = [
    cfg.ListOpt(
        "loopfile_directories",
        default=["$state_path/volumes"],
        help="Directories for the volume files. Each is a pool, given as PATH or NAME:PATH; NAME defaults to the last "
        "component of PATH. Several hosts may share a directory on a shared file system.",
    ),
    cfg.IntOpt(
        "loopfile_block_size",
        default=devices.BLOCK_SIZE,
        min=512,
        max=4096,
        help="Logical block size in bytes of the volumes' loop devices. 4096 works on all disks; use 512 only for existing "
        "files whose contents require it.",
    ),
]


def parse_directories(entries: Sequence[str]) -> dict[str, str]:
    """Paths by pool name."""
    pools: dict[str, str] = {}
    for entry in entries:
        name, path = ("", entry) if entry.startswith("/") else entry.split(":", 1) if ":" in entry else ("", "")
        path = os.path.normpath(path) if path.startswith("/") else ""
        name = name or Path(path).name
        if not path or not name or name in pools or path in pools.values() or "#" in name:
            raise exception.InvalidConfigurationValue(option="loopfile_directories", value=entry)
        pools[name] = path
    if not pools:
        raise exception.InvalidConfigurationValue(option="loopfile_directories", value="")
    return pools
