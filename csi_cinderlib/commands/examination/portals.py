"""Whether portals of arrays can be reached by TCP from here."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem
from csi_cinderlib.commands.examination.host import Host
from csi_cinderlib.errors import InvalidRequest

CONNECT_SECONDS = 5.0
_AT_ONCE = 16
_MOST = 64
"""Portals from old records that are tried."""
_NODE_RECORDS = ("etc/iscsi/nodes", "var/lib/iscsi/nodes")
"""Where open-iscsi remembers targets: NODES/TARGET/ADDRESS,PORT,GROUP."""


@dataclass(frozen=True, slots=True, order=True)
class Portal:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Portal:
    """HOST:PORT, with an IPv6 address in brackets. Raises InvalidRequest."""
    name, colon, number = text.rpartition(":")
    bracketed = name.startswith("[") and name.endswith("]")
    host = name[1:-1] if bracketed else name
    port = int(number) if number.isascii() and number.isdecimal() and len(number) <= 5 else 0
    if not colon or not host or (":" in host and not bracketed) or not 0 < port < 65536:
        raise InvalidRequest(
            "--portal", f"{text!r} is not HOST:PORT; for iSCSI 192.0.2.10:3260 or [2001:db8::1]:3260, say"
        )
    return Portal(host, port)


def examine(host: Host, given: Sequence[Portal]) -> Iterator[Finding]:
    """Those that are given must answer; those that open-iscsi remembers may be of arrays that are gone."""
    remembered = sorted(set(_remembered(host)) - set(given))[:_MOST]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for portal, error in zip((*given, *remembered), pool.map(attempt, (*given, *remembered)), strict=True):
            if not error:
                yield ok("portal", f"{portal} accepts connections")
            elif portal in given:
                advice = "check the route, the firewall, and that the array serves this address"
                yield problem("portal", f"{portal}: {error}", advice, required=True)
            else:
                advice = f"if the array is gone, on the host: iscsiadm -m node -p {portal} -o delete"
                yield note("portal", f"{portal}, which open-iscsi remembers: {error}", advice)


def attempt(portal: Portal) -> str:
    """Why no connection comes about; "" if it does. Nothing is sent."""
    try:
        socket.create_connection((portal.host, portal.port), CONNECT_SECONDS).close()
    except TimeoutError:
        return f"no answer within {CONNECT_SECONDS:g} s"
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _remembered(host: Host) -> Iterator[Portal]:
    for folder in _NODE_RECORDS:
        for target in host.host_names(folder):
            for record in host.host_names(f"{folder}/{target}"):
                address, _, rest = record.partition(",")
                port = rest.partition(",")[0]
                if address and port.isdecimal() and 0 < int(port) < 65536:
                    yield Portal(address, int(port))
