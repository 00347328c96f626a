"""Encrypted volumes: LUKS2 through cryptsetup, the key by its standard input, never in an argument or a file."""

from __future__ import annotations

from pathlib import Path

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import Signature, probe

SECONDS = 300.0
_KEY = ("--key-file", "-")
_PBKDF_KIB = "65536"
"""Memory for deriving the key: cryptsetup's own choice of up to 1 GiB would break the memory limit of a container."""


def path_of(name: str) -> str:
    """The device under which the open volume `name` appears."""
    return f"/dev/mapper/{name}"


def is_encrypted(found: Signature | None) -> bool:
    return found is not None and found.kind is Kind.ENCRYPTED and found.name.startswith("luks")


def is_open(name: str) -> bool:
    return Path(path_of(name)).exists()


def make(device: str, key: bytes) -> None:
    """Make an encrypted volume on a device that carries nothing known.

    Raises:
        UnsafeToFormat: something is on the device.
        HostError: it cannot be read, or cryptsetup failed.
    """
    if found := probe(device):
        raise UnsafeToFormat(f"{device} carries {found.name} ({found.kind}): it is not encrypted again")
    options = ("--type", "luks2", "--batch-mode", "--pbkdf-memory", _PBKDF_KIB, *_KEY)
    _cryptsetup("luksFormat", *options, device, key=key)


def unlock(device: str, name: str, key: bytes) -> str:
    """Open an encrypted volume as `name`, unless it is open; the path of the device inside.

    Raises:
        HostError: a wrong key, or cryptsetup failed.
    """
    if not is_open(name):
        output = _cryptsetup("open", "--type", "luks", *_KEY, device, name, key=key, ok=(0, 2))
        if output.code == 2:
            raise HostError(f"unlocking {device}: the key does not fit")
    return path_of(name)


def lock(name: str) -> None:
    """Close it; nothing happens when it is not open. Raises HostError when it is in use."""
    if is_open(name):
        _cryptsetup("close", name)


def resize(name: str, key: bytes) -> None:
    """Let the open volume cover all of its device after that grew."""
    _cryptsetup("resize", *_KEY, name, key=key)


def _cryptsetup(action: str, *arguments: str, key: bytes | None = None, ok: tuple[int, ...] = (0,)) -> commands.Output:
    secret = (key.decode(errors="replace"),) if key else ()
    return commands.run(["cryptsetup", action, *arguments], timeout=SECONDS, input=key, ok=ok, secret=secret)
