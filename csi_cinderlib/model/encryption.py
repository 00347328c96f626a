"""Encryption of a volume on its node, as chosen at its creation. Pure."""

from __future__ import annotations

import uuid

from csi_cinderlib.model.size import Bytes

ENCRYPTION = "encryption"
"""The StorageClass parameter, and the key in the volume context."""
LUKS2 = "luks2"
FORMATS = (LUKS2,)
HEADER = Bytes(16 * 1024**2)
"""The part of a volume that a LUKS2 header takes from its file system or raw device."""
SECTOR = 4096
"""The unit of encryption, and the logical block size of the decrypted device. A volume can then move between disks with 512 and with 4096
byte sectors: a device cannot have a smaller unit than its disk, but a larger one."""


def find_unknown(value: str) -> str:
    """Why the value of the parameter is invalid, or ""."""
    return "" if value in FORMATS else f"unsupported encryption {value!r}; supported: {', '.join(FORMATS)}"


_HEADERS = uuid.UUID("7b6f4d3e-61f5-4c0b-9a0e-3f2f7c1a58d4")


def header_of(volume_id: str) -> str:
    """The UUID of the LUKS2 header of a volume that is created encrypted. Copies have that of their source."""
    return str(uuid.uuid5(_HEADERS, volume_id))
