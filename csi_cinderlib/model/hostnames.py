"""The identifiers by which storage distinguishes hosts and maps volumes to them. Pure functions.

Cinder's drivers mask volumes by `initiator`, `wwpns`, `wwnns`, `nqn`, `nvme_hostid`, `system uuid`, `uuid`, `sdc_guid`, `ip` and `host_ips` of
the connector properties (all drivers of Cinder 29; os-brick 7.1 has no others). Arrays and drivers spell them differently, so they are
compared in a normalized form. The caller compares `host`, the name of the host object on an array.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.nodes import KEYS

MOST = 64
"""Limit of identifiers of a host. An eight-port adapter has 16."""


class Kind(enum.StrEnum):
    """The kind of an identifier. Identifiers of the same kind are compared across properties."""

    INITIATOR = "iSCSI initiator"
    WWN = "world wide name"
    NQN = "NVMe qualified name"
    UUID = "host id"
    ADDRESS = "IP address"


class HostName(NamedTuple):
    """An identifier in normalized form."""

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


_KINDS: Mapping[str, Kind] = {
    "initiator": Kind.INITIATOR,
    "wwpns": Kind.WWN,
    "wwnns": Kind.WWN,
    "nqn": Kind.NQN,
    "nvme_hostid": Kind.UUID,
    "system uuid": Kind.UUID,
    "uuid": Kind.UUID,
    "sdc_guid": Kind.UUID,
    "ip": Kind.ADDRESS,
    "host_ips": Kind.ADDRESS,
}
_SYSTEM = "system uuid"
_LISTS = frozenset({"wwpns", "wwnns", "host_ips"})
_PASSED = frozenset(KEYS) | frozenset(_KINDS)

_PLAIN = re.compile(r"(?!-)[A-Za-z0-9._:@+=/~-]{1,223}")
"""Characters of iSCSI and NVMe names. None is special on the command line of an array; both standards allow 223 characters at most."""
_SCOPED = re.compile(r"(?P<address>[0-9A-Fa-f.:]+)(?:%[A-Za-z0-9._-]{1,15})?")
"""An address, optionally with the scope of an IPv6 address. Nothing may follow, because drivers receive the whole text."""
_WWN = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{32}")
_ANYBODYS = frozenset({"03000200040005000006000700080009", "00020003000400050006000700080009"})
"""Default system UUIDs that board vendors leave on many machines."""


def names(connector: Mapping[str, object]) -> frozenset[HostName]:
    """The identifiers in connector properties. Invalid ones are ignored."""
    return frozenset(name for every in by_property(connector).values() for name in every)


def by_property(connector: Mapping[str, object]) -> dict[str, frozenset[HostName]]:
    """The identifiers by property; properties without an identifier are omitted."""
    found = {}
    for key in _KINDS.keys() & connector.keys():
        if values := frozenset(_readable(key, connector[key])):
            found[key] = values
    return found


def checked(connector: Mapping[str, object]) -> dict[str, object]:
    """Return the known properties of a registration, which are passed to drivers, after validating them.

    An invalid system UUID is omitted: firmware reports texts such as "Not Settable".

    Raises:
        PreconditionFailed: a property has an invalid value; names the property.
    """
    passed = {key: value for key, value in connector.items() if key in _PASSED and value is not None}
    for key, value in passed.items():
        if key not in _KINDS:
            if not isinstance(value, bool) and not (isinstance(value, str) and (not value or _PLAIN.fullmatch(value))):
                raise _unusable(key, value)
            continue
        if key in _LISTS and not isinstance(value, list | tuple):
            raise _unusable(key, value)
        for item in _items(key, value):
            if not isinstance(item, str) or (item and key != _SYSTEM and not _is_name(key, item)):
                raise _unusable(key, item)
    if not _is_name(_SYSTEM, str(passed.get(_SYSTEM, ""))):
        passed.pop(_SYSTEM, None)
    if len(names(passed)) > MOST:
        raise PreconditionFailed(f"more than {MOST} host identifiers in its connector properties")
    return passed


def is_anybodys(uuid: str) -> bool:
    """Whether a system UUID is empty or a default that many machines share."""
    plain = _without(uuid, "-")
    return plain in _ANYBODYS or len(set(plain)) < 2


def _unusable(key: str, value: object) -> PreconditionFailed:
    return PreconditionFailed(f"invalid value {str(value)[:100]!r} of connector property {key!r}")


def _items(key: str, value: object) -> Iterator[object]:
    if key in _LISTS and isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def _readable(key: str, value: object) -> Iterator[HostName]:
    for item in _items(key, value):
        if isinstance(item, str) and _is_name(key, item) and (spelling := _spell(key, item)):
            yield HostName(_KINDS[key], spelling)


def _is_name(key: str, text: str) -> bool:
    kind = _KINDS[key]
    if kind is Kind.WWN:
        return bool(_PLAIN.fullmatch(text) and _WWN.fullmatch(_wwn(text)))
    if kind is Kind.ADDRESS:
        address = _address(text)
        return address is not None and not (address.is_multicast or address.is_unspecified)
    return bool(_PLAIN.fullmatch(text)) and (key != _SYSTEM or bool(_UUID.fullmatch(_without(text, "-"))))


def _spell(key: str, text: str) -> str:
    """Normalize an identifier; "" for a value that many hosts share."""
    kind = _KINDS[key]
    if kind is Kind.WWN:
        plain = _wwn(text)
        return "" if len(set(plain)) < 2 else plain
    if kind is Kind.ADDRESS:
        address = _address(text)
        return "" if address is None or address.is_loopback or address.is_link_local else str(address)
    if kind is Kind.UUID:
        plain = _without(text, "-")
        return "" if key == _SYSTEM and is_anybodys(plain) else plain
    return text.casefold()


def _wwn(text: str) -> str:
    return _without(text, ":-.").removeprefix("0x")


def _without(text: str, separators: str) -> str:
    return text.casefold().translate(dict.fromkeys(map(ord, separators)))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    found = _SCOPED.fullmatch(text)
    try:
        address = ipaddress.ip_address(found["address"] if found else "")
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return None if "%" in text else address
