"""Check the values of a connection that os-brick uses in paths, lines of files, or arguments of `mount`. Pure.

os-brick 7.1 joins them with its own directories and writes them to files without escaping. A name with a slash, a line break or
a leading dash could read, write or mount other files of this host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from csi_cinderlib.brick.shares import PROTOCOLS as SHARES
from csi_cinderlib.errors import InvalidRequest

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_WORD = re.compile(r"(?!-|\.{1,2}$)[^/\s\0-\x1f]+")
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_HOST = re.compile(r"[\[\]A-Za-z0-9.:,%_-]+")
_KEYRING = re.compile(r"|\[client\.[^\]\s/]+\]|key\s*=\s*[^\s\\]+|caps\s+\w+\s*=\s*[^\\]*")
"""A line of a Ceph keyring; any other line would be an option of the Ceph client."""
_OF_THIS_HOST = frozenset(
    "bind rbind move remount loop offset sizelimit x-mount.subdir private rprivate shared rshared slave rslave unbindable runbindable "
    "log-file dump-fuse volfile pid-file".split()
)
"""Options that make `mount` expose this host's files, with any file system type, or GlusterFS read or write them."""
_VERITY = "verity."
"""The prefix of options that name devices and files for dm-verity."""


def check(protocol: str, data: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for a value with forbidden characters."""
    if protocol in SHARES:
        _check_share(data)
    elif known := _CHECKS.get(protocol):
        known(data)


def _check_share(data: Mapping[str, Any]) -> None:
    export = data.get("export")
    _require(not isinstance(export, str) or not re.match(r"-|.*[\0\r\n]", export), "export")
    flags = str(data.get("options") or "").split()
    while flags:
        flag = flags.pop(0)
        _require(flag.startswith("-o") and (len(flag) > 2 or flags), "options")  # `-o WORDS` or `-oWORDS`
        words = flag.removeprefix("-o") or flags.pop(0)
        asked = {word.partition("=")[0].strip().lower() for word in words.split(",")}
        _require(asked.isdisjoint(_OF_THIS_HOST) and not any(word.startswith(_VERITY) for word in asked), "options")


def _check_rbd(data: Mapping[str, Any]) -> None:
    pool, _, image = str(data.get("name")).partition("/")
    _require(_WORD.fullmatch(pool) and _WORD.fullmatch(image), "name")
    for key in ("cluster_name", "auth_username"):
        _require(data.get(key) is None or _WORD.fullmatch(str(data[key])), key)
    for key in ("hosts", "ports"):
        _require(all(_HOST.fullmatch(str(item)) for item in _list(data.get(key))), key)
    lines = str(data.get("keyring") or "").splitlines()
    _require(all(_KEYRING.fullmatch(line.strip()) for line in lines), "keyring")


def _check_lightos(data: Mapping[str, Any]) -> None:
    _require(_UUID.fullmatch(str(data.get("uuid"))), "uuid")
    _require(data.get("subsysnqn") is None or _WORD.fullmatch(str(data["subsysnqn"])), "subsysnqn")
    nodes = data.get("lightos_nodes") or {}
    for node in nodes.values() if isinstance(nodes, Mapping) else ():
        for key in (
            "transport_type",
            "target_portal",
            "target_port",
        ):  # words of a line in the client's configuration
            _require(isinstance(node, Mapping) and _HOST.fullmatch(str(node.get(key))), f"lightos_nodes.{key}")


def _check_nvme(data: Mapping[str, Any]) -> None:
    _require(not data.get("alias") or _WORD.fullmatch(str(data["alias"])), "alias")


def _check_iscsi(data: Mapping[str, Any]) -> None:
    for key in ("target_iqn", "target_iqns"):
        _require(all(_WORD.fullmatch(str(item)) for item in _list(data.get(key))), key)
    for key in ("target_portal", "target_portals"):
        _require(all(_HOST.fullmatch(str(item)) for item in _list(data.get(key))), key)
    for key in ("target_lun", "target_luns"):
        # os-brick searches /sys below the session by a path that ends in the LUN: `0/../..` or `*` would match another disk.
        _require(all(_NUMBER.fullmatch(str(item)) for item in _list(data.get(key))), key)


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "rbd": _check_rbd,
    "lightos": _check_lightos,
    "nvmeof": _check_nvme,
    "nvme": _check_nvme,
    "iscsi": _check_iscsi,
    "iser": _check_iscsi,
}


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


def _require(holds: object, key: str) -> None:
    if not holds:
        raise InvalidRequest(
            "publish_context", f"{key!r} of the connection contains forbidden characters or an invalid value"
        )
