"""Cinder's options that are no driver's own: which of them drivers read, and why the others have no effect here.

A test compares the names with the Cinder installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from csi_cinderlib.cinder import naming

READ_BY_DRIVERS = frozenset({"my_ip", "volume_name_template", "snapshot_name_template"})
"""Options of [DEFAULT] that drivers read, and that this driver leaves to its user."""

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
"""The defaults of options of [DEFAULT] that others refer to. None depends on the host."""

_IMAGES = "volumes are not copied from or to images here; set multipath for the nodes"
_MORE: Mapping[str, str] = MappingProxyType(
    {
        "backend_native_threads_pool_size": "set max_concurrent_calls to limit calls into the driver",
        "use_multipath_for_image_xfer": _IMAGES,
        "enforce_multipath_for_image_xfer": _IMAGES,
        "verbose": "set log.level for more detail",
        "debug": "set log.level for more detail",
        "transport_url": "there is no message queue here",
        "rpc_backend": "there is no message queue here",
    }
)
_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "database": "metadata is in this driver's own store: see `store`",
        "fc-zone-manager": "zoning is done on the fabric, not here",
        "key_manager": "encryption keys come from Kubernetes Secrets",
        "barbican": "encryption keys come from Kubernetes Secrets",
        "keystone_authtoken": "there is no Keystone here",
        "service_user": "there is no Keystone here",
        "nova": "there is no Nova here",
        "coordination": "one controller at a time is active, without a coordination service",
        "privsep_osbrick": "drivers' commands run with the rights of this process",
    }
)


def why_idle(name: str) -> str:
    """Why an option of Cinder's has no effect here; "" if it is not known as one."""
    return _MORE.get(name) or naming.why_idle(name)


def why_no_section(name: str) -> str:
    """Why a section that is no back end's is not read."""
    return _SECTIONS.get(name, "is no back end: it belongs to Cinder's services, which do not run here")


def belongs_to_default(name: str) -> bool:
    """Whether it is not a back end's option even where [DEFAULT] is the back end."""
    if name == "volume_driver" or naming.is_of_any(name):
        return False
    return name in READ_BY_DRIVERS or bool(why_idle(name))
