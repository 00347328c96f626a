"""The back ends that a guest can play, as the contract suite and the configuration file want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.guest.inside import lvm
from tests.guest.inside.nfs import SHARE

_LVM: Mapping[str, Any] = {
    "target_helper": "lioadm",
    "target_ip_address": "127.0.0.1",
    "target_protocol": "iscsi",
    # What lvcreate finds at the beginning of a new volume it asks about, and takes no answer for a no.
    "volume_clear": "zero",
    "volume_clear_size": 1,
}

OPTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "lvm-thin": ("cinder.volume.drivers.lvm.LVMVolumeDriver", {**_LVM, "volume_group": lvm.THIN, "lvm_type": "thin"}),
    "lvm-thick": (
        "cinder.volume.drivers.lvm.LVMVolumeDriver",
        {**_LVM, "volume_group": lvm.THICK, "lvm_type": "default"},
    ),
    "nfs": (
        "cinder.volume.drivers.nfs.NfsDriver",
        {
            "nas_host": SHARE.partition(":")[0],
            "nas_share_path": SHARE.partition(":")[2],
            "nfs_mount_options": "vers=4.2",
            # Not below a test's own folder: the driver measures with du, less all paths with "snapshot" in them.
            "nfs_mount_point_base": "/run/nfs-driver",
            "nas_secure_file_operations": "false",
            "nas_secure_file_permissions": "false",
        },
    ),
    "rbd": (
        "cinder.volume.drivers.rbd.RBDDriver",
        {"rbd_pool": "rbd", "rbd_ceph_conf": "/etc/ceph/ceph.conf", "rbd_user": "admin", "rbd_max_clone_depth": 3},
    ),
    "loopfile": ("csi_cinderlib.drivers.loopfile.LoopFileDriver", {"loopfile_directories": ["{directory}"]}),
}
"""Name to driver and its options; `{directory}` stands for a new directory."""
