"""Cinder's options other than those of drivers: which of them drivers read, and why the others have no effect here.

A test compares the names with the installed Cinder.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from csi_cinderlib.cinder import naming

READ_BY_DRIVERS = frozenset({"my_ip", "volume_name_template", "snapshot_name_template"})
"""Options of [DEFAULT] that drivers read, and that users may set."""

IMPLIED: Mapping[str, str | None] = MappingProxyType(
    {
        "state_path": "/var/lib/cinder",
        "storage_availability_zone": "nova",
        "volume_name_template": "volume-%s",
        "snapshot_name_template": "snapshot-%s",
        "rootwrap_config": "/etc/cinder/rootwrap.conf",
        "my_ip": None,
        "host": None,
    }
)
"""Defaults of options of [DEFAULT] that other options refer to. None depends on the host."""

_IMAGES = "csi-cinderlib does not copy volumes from or to images; set multipath for the nodes"
_MORE: Mapping[str, str] = MappingProxyType(
    {
        "backend_native_threads_pool_size": "set max_concurrent_calls to limit calls into the driver",
        "use_multipath_for_image_xfer": _IMAGES,
        "enforce_multipath_for_image_xfer": _IMAGES,
        "verbose": "set log.level for more detail",
        "debug": "set log.level for more detail",
        "transport_url": "csi-cinderlib does not use a message queue",
        "rpc_backend": "csi-cinderlib does not use a message queue",
    }
)
_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "database": "csi-cinderlib has its own metadata store; see the setting `store`",
        "fc-zone-manager": "csi-cinderlib does not manage Fibre Channel zones; use the fabric's tools",
        "key_manager": "encryption keys come from Kubernetes Secrets",
        "barbican": "encryption keys come from Kubernetes Secrets",
        "keystone_authtoken": "csi-cinderlib does not use Keystone",
        "service_user": "csi-cinderlib does not use Keystone",
        "nova": "csi-cinderlib does not use Nova",
        "coordination": "only one controller is active, so no coordination service is needed",
        "privsep_osbrick": "driver commands run with the privileges of this process",
    }
)


def why_idle(name: str) -> str:
    """The reason why an option of Cinder has no effect here; "" if it has one or is unknown."""
    return _MORE.get(name) or naming.why_idle(name)


def why_no_section(name: str) -> str:
    """The reason why a section is not converted."""
    return _SECTIONS.get(name, "is not a back end; it configures services of Cinder, which do not run here")


def belongs_to_default(name: str) -> bool:
    """Whether it is an option of [DEFAULT] even if [DEFAULT] is the back end."""
    if name == "volume_driver" or naming.is_of_any(name):
        return False
    return name in READ_BY_DRIVERS or bool(why_idle(name))
