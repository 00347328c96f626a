"""The addresses of a volume on its storage: connections that share an address lead to the same device. Pure.

The reverse does not hold: iSCSI connections through different portals share no address. Their devices are compared as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from csi_cinderlib.brick.shares import PROTOCOLS as SHARES
from csi_cinderlib.model.connection import Connection

Address = tuple[str, ...]
Data = Mapping[str, Any]


def addresses_of(connection: Connection) -> frozenset[Address]:
    """All addresses, normalised; empty for a protocol without addresses, or if the data contains none."""
    protocol = "share" if connection.protocol in SHARES else connection.protocol
    find = _FINDERS.get(protocol)
    return frozenset(address for address in find(connection.data) if all(address)) if find else frozenset()


def _of_share(data: Data) -> Iterator[Address]:
    yield "share", _text(data.get("export")), _text(data.get("name"))


def _of_path(data: Data) -> Iterator[Address]:
    yield "path", _text(data.get("device_path") or data.get("path"))


def _of_iscsi(data: Data) -> Iterator[Address]:
    """The target name alone is not unique: cloned arrays have the same one."""
    single = (data.get("target_portal"), data.get("target_iqn"), data.get("target_lun"))
    several = zip_longest(*(_list(data.get(key)) for key in ("target_portals", "target_iqns", "target_luns")))
    for portal, name, lun in (single, *several):
        yield "iscsi", _text(portal).partition(",")[0].casefold(), _text(name).casefold(), _text(lun)


def _of_nvme(data: Data) -> Iterator[Address]:
    if id := data.get("vol_uuid") or data.get("volume_nguid"):
        yield "nvme", _text(id).casefold().replace("-", "")
    else:
        yield "nvme", _text(data.get("target_nqn") or data.get("nqn")), _text(data.get("ns_id"))
    for replica in _list(data.get("volume_replicas")):
        if isinstance(replica, Mapping):
            yield from _of_nvme(replica)


def _named(protocol: str, key: str) -> Callable[[Data], Iterator[Address]]:
    def find(data: Data) -> Iterator[Address]:
        yield protocol, _text(data.get(key))

    return find


# Fibre Channel is not included: the same LUN may be different volumes on different ports of the node.
_FINDERS: Mapping[str, Callable[[Data], Iterator[Address]]] = {
    "share": _of_share,
    "local": _of_path,
    "gpfs": _of_path,
    "iscsi": _of_iscsi,
    "iser": _of_iscsi,
    "nvmeof": _of_nvme,
    "nvme": _of_nvme,
    "rbd": _named("rbd", "name"),
    "lightos": _named("lightos", "uuid"),
}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _text(value: object) -> str:
    """The value as text; "" for None."""
    return "" if value is None else str(value)
