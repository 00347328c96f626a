"""Attach volumes to this host. Only this package imports os-brick, and only when needed."""

from csi_cinderlib.brick.allowed_paths import ANYWHERE, AllowedPaths
from csi_cinderlib.brick.device import Device
from csi_cinderlib.brick.initiator import SCAN_ATTEMPTS, Initiator
from csi_cinderlib.brick.properties import connector_properties, ensure_nvme_identity

__all__ = [
    "ANYWHERE",
    "SCAN_ATTEMPTS",
    "AllowedPaths",
    "Device",
    "Initiator",
    "connector_properties",
    "ensure_nvme_identity",
]
