"""Cinder's options that are no driver's own: which of them drivers read, and why the others have no effect here.

A test compares the names with the Cinder installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

READ_BY_DRIVERS = frozenset({"my_ip", "volume_name_template", "snapshot_name_template", "storage_availability_zone"})
"""Options of [DEFAULT] that drivers read, besides `state_path` and `host`, which are this driver's own."""

_SERVICES = "belongs to Cinder's services, which do not run here"
_IMAGES = "volumes are not copied from or to images here"
_FABRIC = "zoning is done on the fabric, not here"
_LOGS = "configure logs by `log` and the process that reads standard error"

OF_DEFAULT: Mapping[str, str] = MappingProxyType(
    {
        "state_path": "what drivers keep lies in the state directory; set state_dir for another one",
        "host": "csi-cinderlib names the places of volumes itself",
        "cluster": "one controller at a time is active, without Cinder's clusters",
        "rootwrap_config": "drivers' commands run with the rights of this process",
        "zoning_mode": _FABRIC,
        "volumes_dir": "drivers read it in the section of their back end",
        "debug": "set log.level for more detail",
        "verbose": _LOGS,
        "transport_url": "there is no message queue here",
        "rpc_backend": "there is no message queue here",
        "auth_strategy": "there is no Keystone here",
        "default_volume_type": "a StorageClass names its volume type in the parameter `type`",
    }
)
"""Reasons for options of [DEFAULT]."""
_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "log_": _LOGS,
        "logging_": _LOGS,
        "use_syslog": _LOGS,
        "use_stderr": _LOGS,
        "default_log_levels": _LOGS,
        "glance_": _IMAGES,
        "image_": _IMAGES,
        "backup_": "Cinder's backups are not part of this driver",
        "osapi_": _SERVICES,
        "scheduler_": _SERVICES,
        "quota_": _SERVICES,
        "rpc_": _SERVICES,
        "nova_": _SERVICES,
    }
)

OF_BACK_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "backend_host": "csi-cinderlib names the places of volumes itself",
        "host": "csi-cinderlib names the places of volumes itself",
        "backend_availability_zone": "topology takes the place of availability zones",
        "zoning_mode": _FABRIC,
        "use_multipath_for_image_xfer": f"{_IMAGES}; set multipath for the nodes",
        "enforce_multipath_for_image_xfer": f"{_IMAGES}; set multipath for the nodes",
        "backup_use_temp_snapshot": "Cinder's backups are not part of this driver",
        "backend_native_threads_pool_size": "set max_concurrent_calls to limit calls into the driver",
        **dict.fromkeys(
            (
                "image_upload_use_cinder_backend",
                "image_upload_use_internal_tenant",
                "image_volume_cache_enabled",
                "image_volume_cache_max_count",
                "image_volume_cache_max_size_gb",
            ),
            _IMAGES,
        ),
    }
)
"""Options in the section of a back end that have no effect here."""

_SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "database": "metadata is in this driver's own store: see `store`",
        "fc-zone-manager": _FABRIC,
        "key_manager": "encryption keys come from Kubernetes Secrets",
        "barbican": "encryption keys come from Kubernetes Secrets",
        "keystone_authtoken": "there is no Keystone here",
        "service_user": "there is no Keystone here",
        "nova": "there is no Nova here",
        "coordination": "one controller at a time is active, without a coordination service",
        "privsep_osbrick": "drivers' commands run with the rights of this process",
    }
)

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


def why_not_in_default(name: str) -> str:
    """The reason why an option of [DEFAULT] has no effect here; "" if it is not known as one of Cinder's services."""
    return OF_DEFAULT.get(name) or next((why for start, why in _PREFIXES.items() if name.startswith(start)), "")


def why_no_section(name: str) -> str:
    return _SECTIONS.get(name, f"is no back end: {_SERVICES}")


def belongs_to_default(name: str) -> bool:
    """Whether it is not a back end's option even where [DEFAULT] is the back end."""
    return name in READ_BY_DRIVERS or (bool(why_not_in_default(name)) and name != "volumes_dir")
