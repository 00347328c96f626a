"""The names by which storage tells one host from another, and gives it volumes. Pure.

Cinder's drivers mask volumes by them: `initiator`, `wwpns`, `wwnns`, `nqn`, `nvme_hostid`, `system uuid`, `uuid`, `sdc_guid`, `ip` and
`host_ips` of the connector properties (all drivers of Cinder 29; os-brick 7.1 has no others). Arrays and drivers spell them in several
ways, so they are compared in one spelling. `host`, by which an array's host object is named, is compared by the caller.
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
"""Names of one host. An eight-port adapter has 16."""


class Kind(enum.StrEnum):
    """What a name is. Names of one kind are compared, whichever properties hold them."""

    INITIATOR = "iSCSI initiator"
    WWN = "world wide name"
    NQN = "NVMe qualified name"
    UUID = "host id"
    ADDRESS = "IP address"


class HostName(NamedTuple):
    """One name in the spelling in which it is compared."""

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
"""What iSCSI and NVMe names are made of. No character means anything to an array's command line; 223 is the longest name of both."""
_SCOPED = re.compile(r"(?P<address>[0-9A-Fa-f.:]+)(?:%[A-Za-z0-9._-]{1,15})?")
"""An address, and for one of IPv6 perhaps the interface that it counts on. No more may follow: drivers are given all of it."""
_WWN = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{32}")
_ANYBODYS = frozenset({"03000200040005000006000700080009", "00020003000400050006000700080009"})
"""System UUIDs that makers of boards leave in all of them."""


def names(connector: Mapping[str, object]) -> frozenset[HostName]:
    """The names in connector properties. What cannot be read as one is left out."""
    return frozenset(name for every in by_property(connector).values() for name in every)


def by_property(connector: Mapping[str, object]) -> dict[str, frozenset[HostName]]:
    """The same by the property that holds them; properties without a name are left out."""
    found = {}
    for key in _KINDS.keys() & connector.keys():
        if values := frozenset(_readable(key, connector[key])):
            found[key] = values
    return found


def checked(connector: Mapping[str, object]) -> dict[str, object]:
    """The properties of a registration that drivers are to see: those that are known, if their values are what they must be.

    A system UUID that is none is left out: firmware says "Not Settable" and the like.

    Raises:
        PreconditionFailed: one is not; names it.
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
        raise PreconditionFailed(f"its connector properties have more than {MOST} names")
    return passed


def is_anybodys(uuid: str) -> bool:
    """Whether a system UUID is "", or a filler that many machines have."""
    plain = _without(uuid, "-")
    return plain in _ANYBODYS or len(set(plain)) < 2


def _unusable(key: str, value: object) -> PreconditionFailed:
    return PreconditionFailed(f"its connector property {key!r} cannot be {str(value)[:100]!r}")


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
    """ "" for a value that many hosts have."""
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
