"""Import os-brick on demand, and only the parts that a protocol needs: 26 MB and 0.3 s instead of 62 MB and 1.4 s.

`os_brick.initiator.connector` imports every connector, including VMware's with its SOAP stack. The map below therefore names
each protocol's own module.

Changes to other libraries, each with its reason and test:

| what | reason | seen with | test |
| --- | --- | --- | --- |
| `import eventlet` fails while os-brick is imported, unless it is loaded already | `oslo_privsep.daemon` imports it only to check whether it has patched anything: 19 MB | oslo.privsep 3.11 | test_no_connector_loads_eventlet |
| os-brick's two privsep contexts work in process (`set_client_mode(False)`, their own switch) | a node runs as root: no daemon, no sudo | os-brick 7.1 | test_privileged_calls_run_in_this_process |
| oslo.service is told to use threads (its own hook) | Fibre Channel's connector needs its looping call | oslo.service 4 | test_every_protocol_of_os_brick_has_its_class |
| `os_brick.lock_path` gets a default (its own option) | external locks need a directory | os-brick 7.1 | test_locks_lie_in_the_state_directory |
| an iSCSI connector polls for its new disk (`poll_for_disks`) | it sleeps for a second per attach while holding its lock | os-brick 7.1 | test_a_disk_is_found_while_the_kernel_still_probes_it |
"""

from __future__ import annotations

import importlib
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from csi_cinderlib.concurrency import without_eventlet
from csi_cinderlib.errors import HostError, Unsupported

_LOOKS = ("device_name_by_hctl", "get_sysfs_wwn")
_LOOK_SECONDS = 1.0
_LOOK_INTERVAL = 0.01
_HOME = "os_brick.initiator.connectors."

CONNECTORS: Mapping[str, str] = MappingProxyType(
    {
        "iscsi": "iscsi.ISCSIConnector",
        "iser": "iscsi.ISCSIConnector",
        "fibre_channel": "fibre_channel.FibreChannelConnector",
        "nvmeof": "nvmeof.NVMeOFConnector",
        "nvme": "nvmeof.NVMeOFConnector",
        "lightos": "lightos.LightOSConnector",
        "rbd": "rbd.RBDConnector",
        "nfs": "remotefs.RemoteFsConnector",
        "glusterfs": "remotefs.RemoteFsConnector",
        "quobyte": "remotefs.RemoteFsConnector",
        "scality": "remotefs.RemoteFsConnector",
        "vzstorage": "remotefs.RemoteFsConnector",
        "local": "local.LocalConnector",
        "gpfs": "gpfs.GPFSConnector",
        "scaleio": "scaleio.ScaleIOConnector",
        "storpool": "storpool.StorPoolConnector",
        "huaweisdshypervisor": "huawei.HuaweiStorHyperConnector",
        "vmdk": "vmware.VmdkConnector",
    }
)
"""Protocol (driver_volume_type in lower case) to os-brick's class."""

_ON_S390: Mapping[str, str] = MappingProxyType(
    {
        "fibre_channel": "fibre_channel_s390x.FibreChannelConnectorS390X",
        **{name: CONNECTORS[name] for name in ("nfs", "iscsi", "local", "rbd", "gpfs")},
    }
)
_ON_PPC64: Mapping[str, str] = MappingProxyType(
    {
        "fibre_channel": "fibre_channel_ppc64.FibreChannelConnectorPPC64",
        **{name: CONNECTORS[name] for name in ("nfs", "iscsi", "iser", "local", "rbd", "gpfs", "vzstorage")},
    }
)


def class_path(protocol: str, machine: str | None = None) -> str:
    """os-brick's class for a protocol on a machine's architecture (this one's by default).

    Raises:
        Unsupported: os-brick does not support the protocol on that machine; lists those that it supports.
    """
    machine = machine or platform.machine()
    known = _ON_S390 if machine.startswith("s390") else _ON_PPC64 if machine.startswith("ppc64") else CONNECTORS
    try:
        return _HOME + known[protocol]
    except KeyError:
        raise Unsupported(
            f"unsupported protocol {protocol!r} on a {machine} node; supported: {', '.join(sorted(known))}"
        ) from None


def connector_class(protocol: str, *, lock_dir: Path, machine: str | None = None) -> Any:
    """os-brick's connector class for a protocol. The first call sets up os-brick.

    Raises:
        Unsupported: os-brick does not support the protocol.
        HostError: a Python package that it needs is not installed.
    """
    module, _, name = class_path(protocol, machine).rpartition(".")
    with without_eventlet():
        try:
            prepare(lock_dir)
            if "fibre_channel" in module:
                _prepare_looping_calls()
            return getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise HostError(f"cannot attach {protocol} volumes on this host: {error}") from error


def prepare(lock_dir: Path) -> None:
    """Set up os-brick for this process; options that are set already are kept."""
    import os_brick.privileged
    from oslo_config import cfg

    for context in (os_brick.privileged.default, os_brick.privileged.brick_privsep_hide_output):
        context.set_client_mode(False)
    if not cfg.CONF.os_brick.lock_path:
        cfg.CONF.set_default("lock_path", str(lock_dir), "os_brick")


def _prepare_looping_calls() -> None:
    from oslo_service import backend

    backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)


def poll_for_disks(connector: Any) -> None:
    """Let this iSCSI connector find a new disk as soon as the kernel and udev show it, instead of sleeping for a second.

    os-brick looks for the disk right after a scan, and for its WWN right after it found the disk (`ISCSIConnector._connect_vol` and
    `_connect_single_volume`, os-brick 7.1). At the first look the kernel is still probing the disk, and at the second udev has not
    linked it yet, so both fail on a healthy host. After each failure os-brick sleeps for one second while it holds the lock that
    serialises all attaches on the host. Here, the first of each look polls for up to one second instead. Later looks and the rescans
    between them are unchanged.
    """
    scsi = connector._linuxscsi
    for name in _LOOKS:
        setattr(scsi, name, _polled(getattr(scsi, name)))


def _polled(look: Callable[..., Any]) -> Callable[..., Any]:
    """Poll on the first call with given arguments; look only once on later calls."""
    known: set[str] = set()

    def polled(*arguments: Any, **options: Any) -> Any:
        key = repr((arguments, options))
        deadline = time.monotonic() + (0.0 if key in known else _LOOK_SECONDS)
        known.add(key)
        while not (found := look(*arguments, **options)) and time.monotonic() < deadline:
            time.sleep(_LOOK_INTERVAL)
        return found

    return polled
