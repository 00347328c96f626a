"""The reviewed table of what drivers change in place."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from csi_cinderlib.backend import catalogue, retypes
from csi_cinderlib.backend.retypes import NONE, Family, Retypes

FAMILIES = retypes.families()
UNPROVEN = (
    "datera.datera_iscsi.DateraDriver",
    "dell_emc.unity.driver.UnityDriver",
    "ibm.storwize_svc.storwize_svc_fc.StorwizeSVCFCDriver",
    "inspur.instorage.instorage_fc.InStorageMCSFCDriver",
    "pure.PureISCSIDriver",
    "rbd.RBDDriver",
)
COPYING = (
    "dell_emc.powervault.fc.PVMEFCDriver",
    "dell_emc.vnx.driver.VNXDriver",
    "hpe.nimble.NimbleFCDriver",
    "huawei.huawei_driver.HuaweiFCDriver",
    "ibm.ibm_storage.ibm_storage.IBMStorageDriver",
    "lenovo.lenovo_iscsi.LenovoISCSIDriver",
    "nec.volume.MStorageISCSIDriver",
    "san.hp.hpmsa_fc.HPMSAFCDriver",
    "vmware.vmdk.VMwareVcVmdkDriver",
)
IDLE = (
    "lvm.LVMVolumeDriver",
    "sandstone.sds_driver.SdsISCSIDriver",
    "storpool.StorPoolDriver",
    "toyou.tyds.tyds.TYDSDriver",
)


def test_the_table_names_every_driver_with_retype() -> None:
    able = {driver.path for driver in catalogue.load().drivers if driver.retype}
    named = [driver for family in FAMILIES for driver in family.drivers]
    assert len(named) == len(set(named))
    assert able - set(named) == set()
    assert set(named) - able == {
        "cinder.volume.drivers.dell_emc.powermax.nvme_tcp.PowerMaxNVMETCPDriver"
    }  # no iSCSI or FC


def test_the_table_was_reviewed_for_the_release_of_cinder() -> None:
    """Another major release needs another review, as its first line says."""
    assert retypes.FILE.read_text().splitlines()[0].split("Cinder ")[1].startswith(version("cinder").split(".")[0])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_says_what_its_drivers_do(family: Family) -> None:
    keys = family.retypes.keys
    assert family.effect.endswith(".")
    assert len(keys) == len(set(keys))
    assert all(
        key.startswith(("qos/", "extraSpecs/")) and "*" not in key for key in (*keys, *family.retypes.blocked_by)
    )
    assert family.retypes.anything == bool(keys)
    assert keys or not family.never


@pytest.mark.parametrize("name", [*COPYING, *IDLE, *UNPROVEN])
def test_drivers_that_copy_or_do_nothing_change_nothing(name: str) -> None:
    family = retypes.find(f"cinder.volume.drivers.{name}")
    assert family is not None
    assert family.retypes == NONE


def test_a_driver_that_was_not_reviewed_is_not_in_the_table() -> None:
    assert retypes.find("vendor.Driver") is None


def test_a_pattern_stands_for_many_parameters() -> None:
    kept = Retypes(online=("qos/*",), detached=("extraSpecs/a:b",))
    assert [kept.allows(key) for key in ("qos/x", "extraSpecs/a:b", "extraSpecs/a:bc", "extraSpecs/qos/x")] == [
        True,
        True,
        False,
        False,
    ]
    assert kept.needs_detached(["qos/x", "extraSpecs/a:b"])
    assert not kept.needs_detached(["qos/x", "qos/y"])
    assert (NONE.anything, Retypes(detached=("a",)).anything) == (False, True)


def test_the_table_is_read_as_it_is_written() -> None:
    raw = {"name": "n", "drivers": ["a.B", "csi_cinderlib.C"], "effect": "E."}
    assert retypes._family(raw) == Family(name="n", drivers=("cinder.volume.drivers.a.B", "csi_cinderlib.C"))
    lists = {
        "online": ["qos/a"],
        "detached": ["qos/b"],
        "blocked_by": ["qos/c"],
        "removable": False,
        "never": ["a.B.c"],
        "converts": ["a.B.d"],
        "untouched": True,
        "below": [["qos/a", "qos/b"]],
        "values": {"qos/a": [1, 2]},
    }
    assert retypes._family(raw).effect == "E."
    full = retypes._family({**raw, **lists})
    assert full.retypes == Retypes(
        online=("qos/a",),
        detached=("qos/b",),
        removable=False,
        blocked_by=("qos/c",),
        untouched=True,
        below=(("qos/a", "qos/b"),),
        values={"qos/a": (1, 2)},
    )
    assert full.converts == ("cinder.volume.drivers.a.B.d",)
    assert full.never == ("cinder.volume.drivers.a.B.c",)
