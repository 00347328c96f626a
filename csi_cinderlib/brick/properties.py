"""This host's connector properties as os-brick returns them, without loading os-brick, to keep an idle node small."""

from __future__ import annotations

import platform
import re
import socket
import sys
import uuid
from pathlib import Path

from csi_cinderlib.model.hostnames import is_anybodys

_INITIATOR = re.compile(r"^InitiatorName\s*=\s*(\S+)", re.MULTILINE)


def connector_properties(
    *, host: str = "", ip: str = "", multipath: bool = False, enforce_multipath: bool = False, root: Path = Path("/")
) -> dict[str, object]:
    """The properties of this host that a driver needs to export a volume to it.

    Args:
        host: defaults to the host name.
        ip: the address that the storage sees; defaults to the source address of the default route.
        root: the directory that contains /etc and /sys.
    """
    found: dict[str, object] = {
        "platform": platform.machine(),
        "os_type": sys.platform,
        "ip": ip or default_address(),
        "host": host or socket.gethostname(),
        "multipath": multipath,
        "enforce_multipath": enforce_multipath,
        "do_local_attach": False,
    }
    named = {
        "initiator": _initiator(root / "etc/iscsi/initiatorname.iscsi"),
        "wwpns": _fibre_channel_names(root, "port_name", online_only=True),
        "wwnns": _fibre_channel_names(root, "node_name", online_only=True),
        **_nvme(root),
    }
    return {**found, **{key: value for key, value in named.items() if value}}


def default_address() -> str:
    """The source address of the default route, or the loopback address if there is none. Sends nothing."""
    for family, far, fallback in ((socket.AF_INET, "192.0.2.1", ""), (socket.AF_INET6, "2001:db8::1", "127.0.0.1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                return str(probe.getsockname()[0])
        except OSError:
            if fallback:
                return fallback
    return "127.0.0.1"


def _initiator(path: Path) -> str:
    found = _INITIATOR.search(_read(path))
    return found[1] if found else ""


def _fibre_channel_names(root: Path, attribute: str, *, online_only: bool) -> list[str]:
    hosts = sorted((root / "sys/class/fc_host").glob("host*"))
    return [
        _read(host / attribute).removeprefix("0x")
        for host in hosts
        if _read(host / attribute) and (not online_only or _read(host / "port_state") == "Online")
    ]


def _nvme(root: Path) -> dict[str, object]:
    system = _read(root / "sys/class/dmi/id/product_uuid")
    nqn = _read(root / "etc/nvme/hostnqn")
    return {
        "nqn": nqn,
        "nvme_hostid": _read(root / "etc/nvme/hostid") if nqn else "",
        "system uuid": system,
        "nvme_native_multipath": _read(root / "sys/module/nvme_core/parameters/multipath") == "Y",
    }


def ensure_nvme_identity(root: Path = Path("/")) -> None:
    """Create a permanent NVMe host name and host id if nvme-cli has not done so, as os-brick does.

    Raises:
        OSError: /etc/nvme cannot be written.
    """
    folder = root / "etc/nvme"
    system = _read(root / "sys/class/dmi/id/product_uuid")
    if is_anybodys(system):
        system = str(uuid.uuid4())
    for name, text in (("hostnqn", f"nqn.2014-08.org.nvmexpress:uuid:{system}"), ("hostid", system)):
        path = folder / name
        if not _read(path):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(text + "\n")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
