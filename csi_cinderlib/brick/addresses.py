"""Where storage shows a volume: what two connections have in common only if they lead to one device. Pure.

Some that do have nothing in common here, as of iSCSI those by different portals: what is found there is compared besides.
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
    """All of them, in one spelling; none for a protocol whose volumes have no address, or for data that does not tell it."""
    protocol = "share" if connection.protocol in SHARES else connection.protocol
    find = _FINDERS.get(protocol)
    return frozenset(address for address in find(connection.data) if all(address)) if find else frozenset()


def _of_share(data: Data) -> Iterator[Address]:
    yield "share", _text(data.get("export")), _text(data.get("name"))


def _of_path(data: Data) -> Iterator[Address]:
    yield "path", _text(data.get("device_path") or data.get("path"))


def _of_iscsi(data: Data) -> Iterator[Address]:
    """A target's name alone is not enough: arrays that are copies of one another have the same."""
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


# Not Fibre Channel's: a LUN is one volume for one of the node's ports, and may be another for another port.
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
    """ "" for what is not there."""
    return "" if value is None else str(value)
