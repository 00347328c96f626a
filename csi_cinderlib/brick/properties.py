"""This host's connector properties as os-brick returns them, without loading os-brick, to keep an idle node small."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from csi_cinderlib.host import kernel
from csi_cinderlib.model.hostnames import is_anybodys

_INITIATOR = re.compile(r"^InitiatorName\s*=\s*(\S+)", re.MULTILINE)


_LIGHTOS_CLIENT = ("127.0.0.1", 6060)
"""os-brick's default address of LightOS's discovery client."""
_LIGHTOS_SECONDS = 2.0

Read = Callable[[Path], str]
"""Reads a small text file; "" if it does not exist or cannot be read."""


def connector_properties(
    *,
    host: str = "",
    ip: str = "",
    multipath: bool = False,
    enforce_multipath: bool = False,
    root: Path = Path("/"),
    lightos_client: tuple[str, int] = _LIGHTOS_CLIENT,
) -> dict[str, object]:
    """The properties of this host that a driver needs to export a volume to it.

    Every property that identifies the host is its own. os-brick has two more, which other hosts may have as well (a cloned root file
    system, the address of a container bridge): see `all_properties`.

    Args:
        host: defaults to the host name.
        ip: the address that the storage sees; defaults to the source address of the default route.
        root: the directory that contains /dev, /etc and /sys.
        lightos_client: the address of LightOS's discovery client.
    """
    given = _given(host, ip or default_address(), multipath=multipath, enforce_multipath=enforce_multipath)
    found = _of_host(root, read_file)
    client = _lightos_client(lightos_client) if found["nqn"] else ""
    named = {**found, "found_dsc": client, "host_ips": [given["ip"]] if client else []}
    return {**given, **{key: value for key, value in named.items() if value}}


def all_properties(
    *,
    host: str = "",
    ip: str = "",
    multipath: bool = False,
    enforce_multipath: bool = False,
    root: Path = Path("/"),
    read: Read | None = None,
    lightos_client: tuple[str, int] = _LIGHTOS_CLIENT,
) -> dict[str, object]:
    """The same properties as os-brick's own function.

    Args:
        read: reads files that only root may read; see `connector_properties` for the other arguments.
    """
    given = _given(host, ip or default_address(), multipath=multipath, enforce_multipath=enforce_multipath)
    named = {**_of_host(root, read or read_file), "uuid": _root_file_system(root)}
    always: dict[str, object] = {"nvme_native_multipath": bool(named.pop("nvme_native_multipath"))}
    if named["nqn"]:
        always |= {"found_dsc": _lightos_client(lightos_client), "host_ips": _addresses()}
    return {**given, **{key: value for key, value in named.items() if value}, **always}


def _given(host: str, ip: str, *, multipath: bool, enforce_multipath: bool) -> dict[str, object]:
    return {
        "platform": platform.machine(),
        "os_type": sys.platform,
        "ip": ip,
        "host": host or socket.gethostname(),
        "multipath": multipath,
        "enforce_multipath": enforce_multipath,
        "do_local_attach": False,
    }


def _of_host(root: Path, read: Read) -> dict[str, object]:
    """The identifiers of the host; empty if it has none of that kind."""
    nqn = read(root / "etc/nvme/hostnqn")
    return {
        "initiator": _initiator(read(root / "etc/iscsi/initiatorname.iscsi")),
        "wwpns": _fibre_channel_names(root, "port_name"),
        "wwnns": _fibre_channel_names(root, "node_name"),
        "nqn": nqn,
        "nvme_hostid": read(root / "etc/nvme/hostid") if nqn else "",
        "system uuid": read(root / "sys/class/dmi/id/product_uuid"),
        "nvme_native_multipath": read_file(root / "sys/module/nvme_core/parameters/multipath") == "Y",
        "sdc_guid": _scaleio_client(root / "dev/scini"),
    }


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


def _initiator(text: str) -> str:
    found = _INITIATOR.search(text)
    return found[1] if found else ""


def _fibre_channel_names(root: Path, attribute: str) -> list[str]:
    """The names of the adapters' ports with a link."""
    hosts = sorted((root / "sys/class/fc_host").glob("*"))
    online = [host for host in hosts if read_file(host / "port_state") == "Online"]
    return [name for host in online if (name := read_file(host / attribute).removeprefix("0x"))]


_GET_GUID = ord("a") << 8 | 14
"""Request of PowerFlex's (ScaleIO's) kernel module: two words are returned after an unused first one."""


def _scaleio_client(device: Path) -> str:
    """The GUID of PowerFlex's data client on this host."""
    answer = bytearray(24)
    try:
        with kernel.opened(str(device), os.O_RDWR) as fd:
            kernel.ioctl(fd, _GET_GUID, answer)
    except OSError:
        return ""
    return str(uuid.UUID(bytes=bytes(answer[8:])))


_STATUS_LINE_BYTES = 1024
_SUCCESS = re.compile(rb"HTTP/1\.[01] 200\b")


def _lightos_client(address: tuple[str, int]) -> str:
    """`found` if LightOS's discovery client answers on this host. Without `http.client`, which takes 2 MB on every node."""
    host, port = address
    request = f"HEAD /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(address, timeout=_LIGHTOS_SECONDS) as client:
            client.sendall(request.encode())
            with client.makefile("rb") as answer:
                status = answer.readline(_STATUS_LINE_BYTES)
    except OSError:
        return ""
    return "found" if _SUCCESS.match(status) else ""


def _addresses() -> list[str]:
    """All addresses of this host except those of the loopback interface, without scopes."""
    import psutil  # type: ignore[import-untyped]  # os-brick's own dependency, without stubs; a node does not need it

    families = {socket.AF_INET} | ({socket.AF_INET6} if _has_ipv6() else set())
    return [
        address.address.partition("%")[0]
        for interface, addresses in psutil.net_if_addrs().items()
        if interface != "lo"
        for address in addresses
        if address.family in families
    ]


def _has_ipv6() -> bool:
    return read_file(Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")) == "0"


def _root_file_system(root: Path) -> str:
    """The UUID of the root file system, from udev's links; "" for an overlay."""
    source = next((line.split()[0] for line in read_file(root / "proc/mounts").splitlines() if _is_root(line)), "")
    if not source.startswith("/dev/"):
        return ""
    device = os.path.realpath(f"{root}/{source}")
    links = sorted((root / "dev/disk/by-uuid").glob("*"))
    return next((link.name for link in links if os.path.realpath(link) == device), "")


def _is_root(mount: str) -> bool:
    return mount.split()[1:2] == ["/"]


def ensure_nvme_identity(root: Path = Path("/")) -> None:
    """Create a permanent NVMe host name and host id if nvme-cli has not done so, as os-brick does.

    Raises:
        OSError: /etc/nvme cannot be written.
    """
    folder = root / "etc/nvme"
    system = read_file(root / "sys/class/dmi/id/product_uuid")
    if is_anybodys(system):
        system = str(uuid.uuid4())
    for name, text in (("hostnqn", f"nqn.2014-08.org.nvmexpress:uuid:{system}"), ("hostid", system)):
        path = folder / name
        if not read_file(path):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.write_text(text + "\n")


def read_file(path: Path) -> str:
    """The text of a small file; "" if it does not exist or cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
