"""Attach volumes to this host. Only this package imports os-brick, and only when needed."""

from csi_cinderlib.brick.allowed_paths import ANYWHERE, AllowedPaths
from csi_cinderlib.brick.device import Device, ForeignDevice, check_readable, flush
from csi_cinderlib.brick.failures import BrickFailure, exception_chainer, exception_class
from csi_cinderlib.brick.initiator import SCAN_ATTEMPTS, Initiator
from csi_cinderlib.brick.properties import all_properties, connector_properties, ensure_nvme_identity
from csi_cinderlib.brick.tools import missing as missing_tools

__all__ = [
    "ANYWHERE",
    "SCAN_ATTEMPTS",
    "AllowedPaths",
    "BrickFailure",
    "Device",
    "ForeignDevice",
    "Initiator",
    "all_properties",
    "check_readable",
    "connector_properties",
    "ensure_nvme_identity",
    "exception_chainer",
    "exception_class",
    "flush",
    "missing_tools",
]
