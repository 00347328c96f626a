"""Mappings of LUKS2 through cryptsetup. Their headers are in memory: see `luks_header`.

cryptsetup runs as a child process, so a hanging device blocks the child only.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devicemapper, luks_header
from csi_cinderlib.host.luks_header import Header

_UUID = "CRYPT-LUKS2-"


@dataclass(frozen=True, slots=True)
class OpenMapping:
    """A mapping of a LUKS2 header in the kernel.

    Attributes:
        path: the decrypted device.
        identity: see `identity_of`.
        below: kernel names of the devices under it, such as `sdb`.
        active: it has a table. A program that was killed may leave a mapping without one.
    """

    path: str
    identity: str
    below: tuple[str, ...]
    active: bool = True


def path_of(name: str) -> str:
    """The decrypted device of the mapping of that name, by the kernel's own node. A path without a device if it is not active.

    Raises:
        HostError: the device mapper cannot be asked.
    """
    found = devicemapper.find(name)
    return found.path if found and found.active else f"/dev/mapper/{name}"


def identity_of(uuid: str, name: str) -> str:
    """`devices.identity` of the mapping of that name, of a header with that UUID."""
    return f"dm:{_UUID}{uuid.replace('-', '').lower()}-{name}"


def find(name: str) -> OpenMapping | None:
    """The mapping of that name, from the kernel; also an inactive one. Sends no I/O. Raises HostError."""
    found = devicemapper.find(name)
    return OpenMapping(found.path, f"dm:{found.uuid}", found.below, found.active) if found else None


def open(device: str, name: str, header: Header, volume_key: bytes, *, read_only: bool = False) -> None:
    """Map the decrypted device of a header that was checked. Derives no key and reads no other header. Writing to the mapping overwrites
    the device.

    The volume key is in the mapping's table instead of the kernel's keyring, so that a node can grow the mapping without the Secret. Only
    root can read either.

    Raises:
        HostError: the device cannot be opened; it is not mapped then.
    """
    with luks_header.piped(volume_key) as source:
        key = f"--volume-key-file=/proc/self/fd/{source}"
        options = ("--type=luks2", "--disable-keyring", key, f"--header={header.path}")
        mode = ("--readonly",) if read_only else ()
        luks_header.run(("open", *options, *mode, device, name), files=(header.fd, source))


def resize(name: str) -> None:
    """Grow an open mapping to the size of its device. Raises HostError."""
    luks_header.run(("resize", "--disable-keyring", name))


def close(name: str, *, deferred: bool = False) -> None:
    """Remove a mapping, if there is one; also one that a killed cryptsetup has left half made. Afterwards there is none.

    Args:
        deferred: if it is in use, the kernel removes it when its last user closes it.

    Raises:
        HostError: it is in use, or belongs to another program.
    """
    found = devicemapper.find(name)
    if found is None:
        return
    if not (found.uuid.startswith(_UUID) and found.uuid.endswith(f"-{name}")):
        raise HostError(f"the mapping {name} has the UUID {found.uuid!r} of another program; it was not removed")
    devicemapper.remove(name, deferred=deferred)
    left = devicemapper.find(name)
    if left and not (deferred and left.deferred):
        raise HostError(f"cannot remove the mapping {name}: the kernel still has it")
