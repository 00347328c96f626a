"""Facts about former names that Cinder states in prose only: in help texts, release notes and documentation."""

from __future__ import annotations

from collections.abc import Mapping

RELEASES: Mapping[str, str] = {
    "2012.2": "2012.2 (Folsom)",
    "2013.1": "2013.1 (Grizzly)",
    "2013.2": "2013.2 (Havana)",
    "2014.1": "2014.1 (Icehouse)",
    "2014.2": "2014.2 (Juno)",
    "2015.1.0": "2015.1 (Kilo)",
    "7.0.0": "7.0 (Liberty)",
    "8.0.0": "8.0 (Mitaka)",
    "9.0.0": "9.0 (Newton)",
    "10.0.0": "10.0 (Ocata)",
    "11.0.0": "11.0 (Pike)",
    "12.0.0": "12.0 (Queens)",
    "13.0.0": "13.0 (Rocky)",
    "14.0.0": "14.0 (Stein)",
    "15.0.0": "15.0 (Train)",
    "16.0.0": "16.0 (Ussuri)",
    "17.0.0": "17.0 (Victoria)",
    "18.0.0": "18.0 (Wallaby)",
    "19.0.0": "19.0 (Xena)",
    "20.0.0": "20.0 (Yoga)",
    "21.0.0": "21.0 (Zed)",
    "22.0.0": "22.0 (2023.1)",
    "23.0.0": "23.0 (2023.2)",
    "24.0.0": "24.0 (2024.1)",
    "25.0.0": "25.0 (2024.2)",
    "26.0.0": "26.0 (2025.1)",
    "27.0.0": "27.0 (2025.2)",
    "28.0.0": "28.0 (2026.1)",
    "master": "29.0 (2026.2)",
}
"""The tags that are scanned, oldest first; the last one must be the Cinder of the catalogue."""

SAME: Mapping[str, tuple[str, str]] = {
    "lvm_max_over_subscription_ratio": ("max_over_subscription_ratio", "lvm"),
    "san_rest_port": ("san_api_port", "dell_emc"),
    "sf_login": ("san_login", "solidfire"),
    "sf_mvip": ("san_ip", "solidfire"),
    "sf_password": ("san_password", "solidfire"),
    "sio_server_certificate_path": ("driver_ssl_cert_path", "dell_emc"),
    "sio_verify_server_certificate": ("driver_ssl_cert_verify", "dell_emc"),
    "vmax_array": ("powermax_array", "dell_emc"),
    "vmax_port_groups": ("powermax_port_groups", "dell_emc"),
    "vmax_service_level": ("powermax_service_level", "dell_emc"),
    "vmax_srp": ("powermax_srp", "dell_emc"),
    "xiv_chap": ("chap", "ibm"),
    "xiv_ds8k_connection_type": ("connection_type", "ibm"),
    "zadara_vpsa_ip": ("zadara_vpsa_host", "zadara"),
}
"""Options that took another's place with the same meaning and values, but do not declare its name; and the vendor's package."""

_VSP = "use hitachi_storage_id, hitachi_pools, hitachi_target_ports and san_ip with the REST-based driver"
_XP = "use hpexp_storage_id, hpexp_pools, hpexp_target_ports and san_ip with the REST-based driver"
_DATERA = "set it in the volume type's extra specs"
_TINTRI = "use the vmstore_* options of cinder.volume.drivers.vmstore.nfs.VmstoreNfsDriver"
_SMIS = "set san_ip, san_api_port, san_login, san_password, powermax_array, powermax_srp and powermax_port_groups"
_7MODE = "Data ONTAP in 7-Mode is no longer supported"
_ESERIES = "NetApp E-Series is no longer supported"
INSTEAD: Mapping[str, str] = {
    "cinder_dell_emc_config_file": _SMIS,
    "cinder_emc_config_file": _SMIS,
    "datera_acl_allow_all": _DATERA,
    "datera_api_token": "use san_login and san_password",
    "datera_num_replicas": _DATERA,
    "flashsystem_multipath_enabled": "it had no effect; remove it",
    "fss_": "FalconStor FSS is no longer supported",
    "hds_hnas_": "Hitachi NAS is no longer supported",
    "hitachi_": _VSP,
    "hnas_": "Hitachi NAS is no longer supported",
    "hpexp_": _XP,
    "hpxp_": _XP,
    "iet_conf": "the IET target is no longer supported; set target_helper",
    "infortrend_provisioning": "set infortrend:provisioning in the volume type's extra specs",
    "infortrend_tiering": "set infortrend:tiering in the volume type's extra specs",
    "iscsi_iotype": "it belonged to the IET target; remove it",
    "iscsi_num_targets": "remove it",
    "iser_num_targets": "remove it",
    "kaminario_nodedup_substring": "set kaminario:thin_prov_type in the volume type's extra specs",
    "managed_replication_target": "use replication_device",
    "multi_pool_support": "remove it",
    "netapp_controller_ips": _ESERIES,
    "netapp_enable_multiattach": "remove it; set multiattach in the volume type",
    "netapp_partner_backend_name": _7MODE,
    "netapp_sa_password": _ESERIES,
    "netapp_storage_service": "the driver connects to the array directly; set netapp_server_hostname",
    "netapp_storage_service_prefix": "the driver connects to the array directly; set netapp_server_hostname",
    "netapp_vfiler": _7MODE,
    "netapp_webservice_path": _ESERIES,
    "netapp_wsdl_url": "the driver connects to the array directly; set netapp_server_hostname",
    "nexenta_oversub_ratio": "use max_over_subscription_ratio",
    "nexenta_used_ratio": "use reserved_percentage",
    "nexenta_volume_compression": "use nexenta_dataset_compression",
    "nfs_disk_util": "use reserved_percentage",
    "nfs_oversub_ratio": "use max_over_subscription_ratio",
    "nfs_used_ratio": "use reserved_percentage",
    "pool_size": "use max_over_subscription_ratio",
    "powermax_snapvx_unlink_limit": "remove it",
    "replication_devices": "use replication_device",
    "san_secondary_ip": "use san_ip",
    "sf_allow_template_caching": "remove it; csi-cinderlib does not use images",
    "sf_template_account_name": "remove it; csi-cinderlib does not use images",
    "sio_force_delete": "remove it",
    "sio_protection_domain_": "use powerflex_storage_pools, a list of DOMAIN:POOL",
    "sio_storage_pool_": "use powerflex_storage_pools, a list of DOMAIN:POOL",
    "storwize_svc_connection_protocol": "choose the driver: StorwizeSVCFCDriver or StorwizeSVCISCSIDriver",
    "storwize_svc_npiv_compatibility_mode": "remove it",
    "storwize_volume_group": "it never worked; remove it",
    "tintri_": _TINTRI,
    "vmax_snapvx_unlink_limit": "remove it",
    "volume_tmp_dir": "remove it; csi-cinderlib does not use images",
    "vsp_": _VSP,
    "xiv_ds8k_proxy": "remove it, or use proxy",
    "xiv_proxy": "remove it, or use proxy",
    "zadara_password": "use zadara_access_key",
    "zadara_user": "use zadara_access_key",
}
"""What to do about a removed option; a key that ends with `_` is the start of several names."""

VALUES_INSTEAD: Mapping[str, str] = {
    "eseries": _ESERIES,
    "ietadm": "use lioadm or tgtadm",
    "ontap_7mode": _7MODE,
    "shred": "use zero",
}
"""What to do about an option's removed value."""

_DRIVERS = "cinder.volume.drivers."
MOVED: Mapping[str, str] = {
    f"{_DRIVERS}ibm.ibm_storage.IBMStorageDriver": f"{_DRIVERS}ibm.ibm_storage.ibm_storage.IBMStorageDriver",
    f"{_DRIVERS}ibm.ibm_storage.XIVDS8KDriver": f"{_DRIVERS}ibm.ibm_storage.ibm_storage.IBMStorageDriver",
    f"{_DRIVERS}lvm.LVMISCSIDriver": f"{_DRIVERS}lvm.LVMVolumeDriver",
}
"""Drivers that took another's place for the same storage and the same volumes, without an entry in Cinder's own table."""

MISNAMED: Mapping[str, str] = {
    f"{_DRIVERS}dell_emc.xtremio.XtremIOFibreChannelDriver": f"{_DRIVERS}emc.xtremio.XtremIOFibreChannelDriver",
}
"""Paths that Cinder's documentation gives and that never existed, with the former path that each stands for."""

_HBSD = "use cinder.volume.drivers.hitachi.hbsd_fc.HBSDFCDriver or hitachi.hbsd_iscsi.HBSDISCSIDriver"
_HUAWEI = "use cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver or HuaweiFCDriver"
_NETAPP = (
    "use cinder.volume.drivers.netapp.common.NetAppDriver with netapp_storage_family: ontap_cluster "
    "and netapp_storage_protocol"
)
_POWERMAX = "use cinder.volume.drivers.dell_emc.powermax.iscsi.PowerMaxISCSIDriver or powermax.fc.PowerMaxFCDriver"
_VNX = "use cinder.volume.drivers.dell_emc.vnx.driver.VNXDriver with storage_protocol"
_LINSTOR = "use cinder.volume.drivers.linstordrv.LinstorDrbdDriver or LinstorIscsiDriver"
_MSA = "use cinder.volume.drivers.san.hp.hpmsa_fc.HPMSAFCDriver or san.hp.hpmsa_iscsi.HPMSAISCSIDriver"
SUCCESSORS: Mapping[str, str] = {
    "drbdmanagedrv.": _LINSTOR,
    "emc.emc_cli_": _VNX,
    "emc.emc_smis_": _POWERMAX,
    "hds.hds.": _HBSD,
    "hitachi.vsp_": _HBSD,
    "hpe.hpe_xp_fc.": "use cinder.volume.drivers.hpe.xp.hpe_xp_fc.HPEXPFCDriver",
    "huawei.": _HUAWEI,
    "ibm.storwize_svc.StorwizeSVCDriver": (
        "use cinder.volume.drivers.ibm.storwize_svc.storwize_svc_fc.StorwizeSVCFCDriver "
        "or storwize_svc_iscsi.StorwizeSVCISCSIDriver"
    ),
    "lvm.LVMISERDriver": "use cinder.volume.drivers.lvm.LVMVolumeDriver with target_protocol: iser",
    "lvm.ThinLVMVolumeDriver": "use cinder.volume.drivers.lvm.LVMVolumeDriver with lvm_type: thin",
    "netapp.common.Deprecated": _NETAPP,
    "netapp.dataontap.": _7MODE,
    "netapp.eseries.": _ESERIES,
    "netapp.": _NETAPP,
    "san.hp.hp_msa_": _MSA,
    "tintri.": "use cinder.volume.drivers.vmstore.nfs.VmstoreNfsDriver",
    "vmware.vmdk.VMwareEsxVmdkDriver": "use cinder.volume.drivers.vmware.vmdk.VMwareVcVmdkDriver, through vCenter",
}
"""What drives that storage today, by the start of the former path below `cinder.volume.drivers`; the options differ."""
