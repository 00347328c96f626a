"""Options with paths: relative paths start at the directory of the back end's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError, Problems
from csi_cinderlib.model.verbatim import Verbatim

PATHS = frozenset(
    "chiscsi_conf cinder_eternus_config_file cinder_huawei_conf_file datacore_iscsi_chap_storage driver_client_cert"
    " driver_client_cert_key driver_ssl_cert_path fujitsu_private_key_path gpfs_hosts_key_file gpfs_images_dir"
    " gpfs_mount_point_base gpfs_private_key hitachi_mirror_ssl_cert_path hpmsa_verify_certificate_path infortrend_cli_path"
    " kioxia_cafile lenovo_verify_certificate_path lvm_conf_file nas_private_key nec_ismcli_privkey nec_ismview_dir"
    " netapp_ca_certificate_file netapp_certificate_file netapp_copyoffload_tool_path netapp_private_key_file"
    " netapp_ssl_cert_path nexenta_mount_point_base nexenta_shares_config nfs_mount_point_base nfs_shares_config"
    " nimble_verify_cert_path quobyte_client_cfg quobyte_mount_point_base rbd_ceph_conf rbd_keyring_conf san_private_key"
    " storage_vnx_security_file_dir vmstore_mount_point_base vmware_ca_file vmware_tmp_dir volumes_dir vrts_target_config"
    " vzstorage_mount_point_base vzstorage_shares_config".split()
)
_OF_REPLICATION = PATHS | {"conf", "ssl_cert_path"}
"""Keys in the mappings of `replication_device`; `conf` belongs to Ceph."""
_WORDS = ("/", "~", "$")
"""Beginnings of paths that are absolute, or are expanded later."""
_NO_FILE = "None"
"""The LVM driver's word for no file."""


def completed(settings: BackendSettings, options: Mapping[str, object]) -> dict[str, object]:
    """The options with absolute paths.

    Raises:
        ConfigurationError: relative paths without a known directory, as in a program that uses the library.
    """
    problems = Problems()
    found = {}
    for name, value in options.items():
        with problems:
            found[name] = _completed(settings, name, value)
    problems.raise_all()
    return found


def _completed(settings: BackendSettings, name: str, value: object) -> object:
    if name in PATHS and isinstance(value, str):
        return located(settings, name, value)
    if name != "replication_device":
        return value
    if isinstance(value, list):
        return [_completed(settings, name, item) for item in value]
    if isinstance(value, Mapping):
        return {
            key: located(settings, f"{name}.{key}", text) if key in _OF_REPLICATION and isinstance(text, str) else text
            for key, text in value.items()
        }
    return value


def is_relative(text: str) -> bool:
    """Whether the value is a relative path."""
    return bool(text) and not text.startswith(_WORDS) and text != _NO_FILE


def located(settings: BackendSettings, name: str, text: str) -> str:
    """The absolute path. Raises ConfigurationError if the path is relative and its directory is unknown."""
    if not is_relative(text):
        return text
    if not Path(settings.directory).is_absolute():
        raise ConfigurationError(f"backends.{settings.name}.options.{name}", "must be an absolute path")
    if isinstance(text, Verbatim):
        directory = settings.directory.replace("$", "$$")
        return Verbatim(f"{directory}/{text}", f"{settings.directory}/{text.resolved}", text.referred)
    return f"{settings.directory}/{text}"
