"""Find drivers in the catalogue by vendor, product and protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from csi_cinderlib.backend.catalogue import Catalogue, Driver
from csi_cinderlib.config.near import suggestion, unknown
from csi_cinderlib.errors import InvalidRequest

# Matched against class names and documentation; _UNNAMED lists the drivers that name no protocol there.
_WORDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "iscsi": re.compile("iscsi", re.IGNORECASE),
        "fibre_channel": re.compile(r"FC(?:\w*Driver)?\b|fibre ?channel|\bFC\b", re.IGNORECASE),
        "nvmeof": re.compile("nvme", re.IGNORECASE),
        "nfs": re.compile("nfs", re.IGNORECASE),
        "rbd": re.compile(r"\bRBDDriver\b"),
    }
)

_UNNAMED: Mapping[str, str] = MappingProxyType(
    {
        "dell_emc.powerflex.driver.PowerFlexDriver": "scaleio",
        "dell_emc.powerstore.driver.PowerStoreDriver": "iscsi fibre_channel nvmeof",
        "dell_emc.unity.driver.UnityDriver": "iscsi fibre_channel",
        "dell_emc.vnx.driver.VNXDriver": "iscsi fibre_channel",
        "fungible.driver.FungibleDriver": "nvmeof",
        "fusionstorage.dsware.DSWAREDriver": "local",
        "ibm.gpfs.GPFSDriver": "gpfs",
        "ibm.gpfs.GPFSRemoteDriver": "gpfs",
        "ibm.ibm_storage.ibm_storage.IBMStorageDriver": "iscsi fibre_channel",
        "infinidat.InfiniboxVolumeDriver": "iscsi fibre_channel",
        "inspur.as13000.as13000_driver.AS13000Driver": "iscsi",
        "kioxia.kumoscale.KumoScaleBaseVolumeDriver": "nvmeof",
        "lightos.LightOSVolumeDriver": "lightos",
        "linstordrv.LinstorDrbdDriver": "local",
        "lvm.LVMVolumeDriver": "iscsi iser nvmeof",
        "netapp.common.NetAppDriver": "iscsi fibre_channel nfs nvmeof",
        "quobyte.QuobyteDriver": "quobyte",
        "solidfire.SolidFireDriver": "iscsi",
        "spdk.SPDKDriver": "nvmeof",
        "storpool.StorPoolDriver": "storpool",
        "toyou.tyds.tyds.TYDSDriver": "iscsi",
        "vastdata.driver.VASTVolumeDriver": "nvmeof",
        "vmware.fcd.VMwareVStorageObjectDriver": "vstorageobject",
        "vmware.vmdk.VMwareVcVmdkDriver": "vmdk",
        "vzstorage.VZStorageDriver": "vzstorage",
        "zadara.zadara.ZadaraVPSAISCSIDriver": "iscsi iser",
        "csi_cinderlib.drivers.loopfile.LoopFileDriver": "local",
    }
)
"""According to their sources in Cinder 29."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "fc": "fibre_channel",
        "fibrechannel": "fibre_channel",
        "fibre-channel": "fibre_channel",
        "nvme": "nvmeof",
        "nvme-of": "nvmeof",
        "nvme-tcp": "nvmeof",
        "ceph": "rbd",
        "powerflex": "scaleio",
    }
)


def protocols(driver: Driver) -> tuple[str, ...]:
    """The protocols that the driver supports, as keys of `brick.loading.CONNECTORS`."""
    if listed := _UNNAMED.get(f"{driver.module}.{driver.name}"):
        return tuple(listed.split())
    text = f"{driver.name} {driver.summary}"
    return tuple(protocol for protocol, pattern in _WORDS.items() if pattern.search(text))


def search(catalogue: Catalogue, words: Sequence[str] = (), protocol: str = "") -> list[Driver]:
    """The drivers that match all words in class path, summary or protocol; case-insensitive.

    Args:
        words: a class path or class name finds only that driver.
        protocol: find only drivers with this protocol.

    Raises:
        InvalidRequest: no driver matches; suggests similar words.
    """
    found = list(catalogue.drivers)
    if protocol:
        wanted = _ALIASES.get(protocol.lower(), protocol.lower())
        found = [driver for driver in found if wanted in protocols(driver)]
        if not found:
            known = {name for driver in catalogue.drivers for name in protocols(driver)}
            raise InvalidRequest("--protocol", unknown("protocol", protocol, known))
    for word in words:
        before, wanted = found, word.lower()
        found = [driver for driver in before if wanted in _names(driver)] or [
            driver for driver in before if _matches(driver, wanted)
        ]
        if not found:
            raise InvalidRequest("driver", _nothing(catalogue, before, word))
    return found


def _names(driver: Driver) -> tuple[str, ...]:
    return driver.path.lower(), f"{driver.module}.{driver.name}".lower(), driver.name.lower()


def _matches(driver: Driver, word: str) -> bool:
    text = f"{driver.path} {driver.summary}".lower()
    if (protocol := _ALIASES.get(word, word)) in _WORDS:  # some names are parts of other words, such as rbd of drbd
        return protocol in protocols(driver) or word in re.split(r"[\W_]+", text)
    return word in text or protocol in protocols(driver)


def vendors(catalogue: Catalogue) -> set[str]:
    """The vendors and products in the modules' names."""
    parts = {part for driver in catalogue.drivers for part in re.split(r"[._]", driver.module)}
    return {part for part in parts if len(part) > 2 and part not in ("csi", "cinderlib", "driver", "drivers", "common")}


def _nothing(catalogue: Catalogue, others: Sequence[Driver], word: str) -> str:
    """The message for a word that nothing matches."""
    if len(others) < len(catalogue.drivers):
        return f"no driver matches {word!r} and the other words"
    hint = suggestion(word, vendors(catalogue) | {driver.name for driver in others})
    return f"no driver matches {word!r}; {hint or 'see `csi-cinderlib drivers`'}"
