"""Example options for each driver: those that the vendor's guide always requires.

`@` stands for the storage's address, `!` for a secret in a file. Values separated by commas are lists for list options. The
longest matching prefix of a module's path applies. Tests check that each driver accepts its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SAN = "san_ip=@ san_login=csi san_password=!"
_HITACHI = f"{_SAN} hitachi_storage_id=123456789012 hitachi_pools=pool1 hitachi_target_ports=CL1-A,CL2-A"
_HPE = f"{_SAN} hpe3par_api_url=https://@:8080/api/v1 hpe3par_username=csi hpe3par_password=! hpe3par_cpg=cpg1"
_STORWIZE = f"{_SAN} storwize_svc_volpool_name=pool1"
_NAS = "nas_host=@ nas_share_path=/volumes"
_NETAPP = "netapp_server_hostname=@ netapp_login=csi netapp_password=! netapp_vserver=svm1"
_NEXENTA = "nexenta_host=@ nexenta_user=csi nexenta_password=!"
_VMWARE = "vmware_host_ip=@ vmware_host_username=csi vmware_host_password=! vmware_cluster_name=cluster1 vmware_volume_folder=Volumes"
_GPFS = "gpfs_mount_point_base=/gpfs/volumes gpfs_storage_pool=system"
_INFORTREND = f"{_SAN} infortrend_pools_name=pool1 infortrend_cli_path=/opt/bin/raidcmd_ESDS10.jar"
_INSTORAGE = f"{_SAN} instorage_mcs_volpool_name=pool1"
_LENOVO = f"{_SAN} lenovo_pool_name=A"
_HPMSA = f"{_SAN} hpmsa_pool_name=A"
_PURE = "san_ip=@ pure_api_token=!"
_TATLIN = f"{_SAN} pool_name=pool1 export_ports=p00,p01 host_group=group1"
_NEC = "nec_ismcli_fip=@ nec_ismcli_user=csi nec_ismcli_password=! nec_diskarray_name=array1 nec_ldset=LX:NODES nec_pools=0"

STARTERS: Mapping[str, str] = MappingProxyType(
    {
        "ceph.rbd_iscsi": "rbd_pool=volumes rbd_user=cinder rbd_ceph_conf=/etc/ceph/ceph.conf rbd_iscsi_api_url=https://@:5001 "
        "rbd_iscsi_api_user=csi rbd_iscsi_api_password=! rbd_iscsi_target_iqn=iqn.2003-01.com.redhat.iscsi-gw:gateway",
        "datacore": f"{_SAN} datacore_disk_type=single datacore_disk_pools=pool1",
        "datera": _SAN,
        "dell_emc.powerflex": f"{_SAN} powerflex_storage_pools=domain1:pool1",
        "dell_emc.powermax": f"{_SAN} powermax_array=000123456789 powermax_srp=SRP_1 powermax_port_groups=[portgroup1]",
        "dell_emc.powerstore": _SAN,
        "dell_emc.powerstore.nfs": f"{_NAS} nas_login=csi nas_password=!",
        "dell_emc.powervault": f"{_SAN} pvme_pool_name=A",
        "dell_emc.sc": f"{_SAN} dell_sc_ssn=64702",
        "dell_emc.unity": f"{_SAN} unity_storage_pool_names=pool1",
        "dell_emc.vnx": f"{_SAN} storage_vnx_pool_names=pool1 naviseccli_path=/opt/Navisphere/bin/naviseccli",
        "dell_emc.xtremio": f"{_SAN} xtremio_cluster_name=cluster1",
        "fujitsu": "cinder_eternus_config_file=/etc/cinder/cinder_fujitsu_eternus_dx.xml",
        "fungible": _SAN,
        "fusionstorage": "dsware_rest_url=https://@:28443 dsware_storage_pools=pool1 san_login=csi san_password=!",
        "hedvig": f"{_SAN} san_clustername=cluster1",
        "hitachi": _HITACHI,
        "hpe.alletramp_driver": _HPE,
        "hpe.hpe_3par": _HPE,
        "hpe.nimble": f"{_SAN} nimble_pool_name=default",
        "hpe.xp": f"{_SAN} hpexp_storage_id=123456789012 hpexp_pools=pool1 hpexp_target_ports=CL1-A,CL2-A",
        "huawei": "cinder_huawei_conf_file=/etc/cinder/cinder_huawei_conf.xml",
        "ibm.gpfs": _GPFS,
        "ibm.gpfs.GPFSRemoteDriver": f"{_GPFS} gpfs_hosts=@ gpfs_user_login=root gpfs_private_key=/run/secrets/gpfs_key",
        "ibm.gpfs.GPFSNFSDriver": f"{_GPFS} {_NAS}",
        "ibm.ibm_storage": f"{_SAN} san_clustername=pool1 "
        "proxy=cinder.volume.drivers.ibm.ibm_storage.xiv_proxy.XIVProxy connection_type=iscsi",
        "ibm.storwize_svc": _STORWIZE,
        "infinidat": f"{_SAN} infinidat_pool_name=pool1 infinidat_storage_protocol=iscsi infinidat_iscsi_netspaces=default_iscsi_space",
        "infortrend": _INFORTREND,
        "inspur.as13000": f"{_SAN} as13000_ipsan_pools=Pool0 as13000_meta_pool=meta1",
        "inspur.instorage": _INSTORAGE,
        "kaminario": _SAN,
        "kioxia": "kioxia_url=https://@:30100 kioxia_token=! kioxia_cafile=/etc/kioxia/ca.pem",
        "lenovo": _LENOVO,
        "lightos": "lightos_api_address=@ lightos_api_port=443 lightos_jwt=!",
        "linstordrv": "linstor_default_uri=linstor://@ linstor_default_storage_pool_name=DfltStorPool",
        "lvm": "volume_group=volumes lvm_type=thin target_helper=lioadm target_protocol=iscsi target_ip_address=@",
        "macrosan": "san_ip=@,@ san_login=csi san_password=! macrosan_pool=pool1 macrosan_client_default=eth-1:0;eth-2:0",
        "nec.v": f"{_SAN} nec_v_storage_id=123456789012 nec_v_pools=pool1 nec_v_target_ports=CL1-A,CL2-A",
        "nec.volume": _NEC,
        "netapp": _NETAPP,
        "netapp.common": f"netapp_storage_protocol=iscsi {_NETAPP}",
        "netapp.dataontap.nfs_cmode": f"{_NETAPP} {_NAS}",
        "nexenta.iscsi": f"{_NEXENTA} nexenta_volume=pool1",
        "nexenta.nfs": f"{_NEXENTA} {_NAS}",
        "nexenta.ns5.iscsi": f"{_NEXENTA} nexenta_volume=pool1",
        "nexenta.ns5.nfs": f"{_NEXENTA} {_NAS}",
        "nfs": _NAS,
        "open_e": "san_hosts=@ san_api_port=82 san_login=csi san_password=! jovian_pool=Pool-0",
        "prophetstor": f"{_SAN} dpl_pool=00000000000000000000000000000001",
        "pure": _PURE,
        "qnap": f"qnap_management_url=https://@ {_SAN} qnap_poolname=Storage__Pool__1",
        "quobyte": "quobyte_volume_url=quobyte://@/volumes",
        "rbd": "rbd_pool=volumes rbd_user=cinder rbd_ceph_conf=/etc/ceph/ceph.conf rbd_keyring_conf=/etc/ceph/ceph.client.cinder.keyring",
        "rsd": "podm_url=https://@ podm_username=csi podm_password=!",
        "san.hp": _HPMSA,
        "sandstone": f"{_SAN} sandstone_pool=vms default_sandstone_target_ips=@",
        "solidfire": _SAN,
        "spdk": "target_helper=spdk-nvmeof target_protocol=nvmet_rdma spdk_rpc_ip=@ spdk_rpc_username=csi spdk_rpc_password=!",
        "storpool": "storpool_template=volumes",
        "synology": "target_ip_address=@ synology_username=csi synology_password=! synology_pool_name=volume1",
        "toyou.acs5000": f"{_SAN} acs5000_volpool_name=pool01",
        "toyou.tyds": f"{_SAN} tyds_pools=pool01",
        "vastdata": f"{_SAN} vast_vippool_name=vippool1 vast_subsystem=subsystem1",
        "veritas_access": f"{_SAN} san_api_port=14161 vrts_target_config=/etc/cinder/vrts_target.xml",
        "veritas_cnfs": _NAS,
        "vmstore": f"vmstore_rest_address=@ vmstore_user=csi vmstore_password=! {_NAS} nfs_mount_options=vers=3,lookupcache=pos,nolock,noacl,proto=tcp",
        "vmware": _VMWARE,
        "vzstorage": "vzstorage_shares_config=/etc/cinder/vzstorage_shares",
        "yadro": _TATLIN,
        "zadara": "zadara_vpsa_host=@ zadara_vpsa_port=443 zadara_vpsa_use_ssl=true zadara_access_key=! zadara_vpsa_poolname=pool1",
    }
)


def of(place: str) -> dict[str, str]:
    """The starter of a driver, given its module and class below `cinder.volume.drivers`; values as in the table."""
    fitting = [start for start in STARTERS if place.startswith(start)]
    if not fitting:
        return {}
    pairs = (word.partition("=") for word in STARTERS[max(fitting, key=len)].split())
    return {name: value for name, _, value in pairs}
