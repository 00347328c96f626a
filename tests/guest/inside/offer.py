"""Volumes as a back end would offer them, from logical volumes and targets that a test holds in its own hands."""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from tests.guest.inside.lio import Target
from tests.guest.inside.shell import run

CHAP = ("node-of-the-test", "password-of-the-node")


@dataclass(frozen=True, slots=True)
class Offer:
    """A logical volume behind a LUN of a target.

    Attributes:
        name: the volume's id, and its disk's serial number.
        addresses: the portals' addresses, the first one first.
    """

    name: str
    device: str
    target: Target
    lun: int
    addresses: tuple[str, ...]

    def map(self) -> None:
        self.target.map(self.lun, self.device, name=self.name)

    def unmap(self) -> None:
        """Behind the initiator's back."""
        self.target.unmap(self.lun)

    @property
    def size(self) -> Bytes:
        return Bytes(int(run("blockdev", "--getsize64", self.device)))

    def grow(self, size: str) -> None:
        """As a back end does it: the volume only, no initiator is told."""
        run("lvextend", "-qq", "-L", size, self.device)

    def connection(
        self,
        formatting: Formatting = Formatting.NEVER_FORMATTED,
        *,
        multipath: bool = False,
        fs_type: str = "",
        attachment: str = "of-this-node@1",
    ) -> Connection:
        """What the controller would send to the node."""
        portals = [f"{address}:3260" for address in self.addresses]
        data: dict[str, object] = {
            "target_discovered": False,
            "target_iqn": self.target.iqn,
            "target_portal": portals[0],
            "target_lun": self.lun,
            "volume_id": self.name,
            "auth_method": "CHAP",
            "auth_username": CHAP[0],
            "auth_password": CHAP[1],
        }
        if multipath:
            data["target_portals"] = portals
            data["target_iqns"] = [self.target.iqn] * len(portals)
            data["target_luns"] = [self.lun] * len(portals)
        return Connection(
            volume_id=self.name,
            attachment=attachment,
            protocol="iscsi",
            data=data,
            size=self.size,
            formatting=formatting,
            fs_type=fs_type,
        )
