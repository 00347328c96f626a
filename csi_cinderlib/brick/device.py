"""What a connected volume is on this node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.model.records import NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A connected volume.

    Attributes:
        path: the block device to use, `/dev/sdb`, `/dev/dm-3`, `/dev/loop7`. May be another one after a reboot.
        wwid: what the device is, whatever its path; "" when it tells nothing (see `host.devices.identity`).
        multipath: it is a map over several paths.
        file: the regular file behind a loop device, else "".
        info: os-brick's own description, which it wants back when it disconnects.
    """

    path: str
    wwid: str = ""
    multipath: bool = False
    file: str = ""
    info: Mapping[str, object] = field(default=NOTHING, repr=False)
