"""Loop devices that belong to a folder: on its files, and on the files of the file systems that lie in its files."""

from __future__ import annotations

import contextlib
import os

from csi_cinderlib.host import kernel, loopctl


def below(folder: str) -> dict[int, str]:
    """Their numbers and backing files, those last on which others lie. Devices that come or go meanwhile may be missing."""
    backing = {number: loopctl.backing_path(number) for number in loopctl.attached()}
    outer = {number: path for number, path in backing.items() if path.startswith(folder)}
    if not outer:  # nor is any device opened that somebody else may be about to detach
        return {}
    systems = {os.makedev(7, number) for number in outer}
    inner = {number: path for number, path in backing.items() if number not in outer and _lies_on(number) in systems}
    return inner | outer


def _lies_on(number: int) -> int:
    """The device of the file system that holds the backing file; 0 if that cannot be known."""
    with contextlib.suppress(OSError), kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
        if status := loopctl.status(fd):
            return status.device
    return 0
