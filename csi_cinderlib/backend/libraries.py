"""Third-party libraries that drivers need but Cinder does not require, with instructions to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

_DRIVERS = "cinder.volume.drivers."


@dataclass(frozen=True, slots=True)
class Library:
    """One library.

    Attributes:
        drivers: prefixes of the class paths, below `cinder.volume.drivers`, of the drivers that need it.
        module: its import name.
        pip: its name on PyPI, or "".
        debian: its Debian package, or "".
    """

    drivers: tuple[str, ...]
    module: str
    pip: str = ""
    debian: str = ""

    @property
    def advice(self) -> str:
        ways = [f"pip install {self.pip}"] if self.pip else []
        if self.debian:
            ways.append(f"apt-get install {self.debian}")
        how = " or ".join(ways) or "ask the vendor for it"
        return f"needs the Python library {self.module!r}, which is not installed: {how}"


LIBRARIES: tuple[Library, ...] = (
    Library(("rbd.",), "rados", debian="python3-rados"),
    Library(("rbd.",), "rbd", debian="python3-rbd"),
    Library(("ceph.rbd_iscsi.",), "rbd_iscsi_client", pip="rbd-iscsi-client"),
    Library(("pure.",), "pypureclient", pip="py-pure-client"),
    Library(("hpe.hpe_3par",), "hpe3parclient", pip="python-3parclient"),
    Library(("hpe.alletramp",), "hpe_storage_flowkit_py", pip="hpe-storage-flowkit-py"),
    Library(("dell_emc.unity.", "dell_emc.vnx."), "storops", pip="storops"),
    Library(("infinidat.",), "infinisdk", pip="infinisdk"),
    Library(("linstordrv.",), "linstor", pip="python-linstor", debian="python3-linstor"),
    Library(("ibm.ibm_storage.ibm_storage",), "pyxcli", pip="pyxcli"),
    Library(
        ("ibm.ibm_storage.ibm_storage", "dell_emc.powermax."), "OpenSSL", pip="pyOpenSSL", debian="python3-openssl"
    ),
    Library(("kaminario.",), "krest", pip="krest"),
    Library(("datera.",), "dfs_sdk", pip="dfs-sdk"),
    Library(("datacore.",), "websocket", pip="websocket-client", debian="python3-websocket"),
    Library(("rsd.",), "rsd_lib", pip="rsd-lib"),
    Library(("rsd.",), "sushy", pip="sushy", debian="python3-sushy"),
    Library(("storpool.",), "storpool", pip="storpool"),
    Library(("storpool.",), "storpool.spopenstack", pip="storpool.spopenstack"),
    Library(("fujitsu.",), "pywbem", pip="pywbem", debian="python3-pywbem"),
    Library(("quobyte.",), "psutil", pip="psutil", debian="python3-psutil"),
    Library(("vmware.",), "oslo_vmware", pip="oslo.vmware", debian="python3-oslo.vmware"),
)


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def missing(driver: str, *, installed: Callable[[str], bool] = installed) -> tuple[Library, ...]:
    """The libraries that the driver needs and that cannot be imported."""
    if not driver.startswith(_DRIVERS):
        return ()
    name = driver.removeprefix(_DRIVERS)
    return tuple(library for library in LIBRARIES if name.startswith(library.drivers) and not installed(library.module))


def of_module(module: str) -> Library | None:
    """The library that provides the module of an ImportError."""
    root = module.partition(".")[0]
    return next((library for library in LIBRARIES if library.module.partition(".")[0] == root), None)
