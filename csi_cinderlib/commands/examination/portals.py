"""Whether this host can reach the TCP portals of arrays."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem
from csi_cinderlib.commands.examination.host import Host
from csi_cinderlib.errors import InvalidRequest

CONNECT_SECONDS = 5.0
_AT_ONCE = 16
_MOST = 64
"""Maximum number of recorded portals that are tried."""
_NODE_RECORDS = ("etc/iscsi/nodes", "var/lib/iscsi/nodes")
"""Directories in which open-iscsi records targets: NODES/TARGET/ADDRESS,PORT,GROUP."""


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
            "--portal", f"must be HOST:PORT, such as 192.0.2.10:3260 or [2001:db8::1]:3260 (got {text!r})"
        )
    return Portal(host, port)


def examine(host: Host, given: Sequence[Portal], state_dir: Path) -> Iterator[Finding]:
    """Portals from the command line must answer. A volume's portal may be one of several paths; one recorded by open-iscsi may be stale."""
    used = sorted(set(_used(state_dir)) - {*given})[:_MOST]
    remembered = sorted(set(_remembered(host)) - {*given, *used})[:_MOST]
    portals = (*given, *used, *remembered)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for portal, error in zip(portals, pool.map(attempt, portals), strict=True):
            if not error:
                yield ok("portal", f"{portal} accepts connections")
            elif portal in given:
                yield problem("portal", f"{portal}: {error}", _ADVICE, required=True)
            elif portal in used:
                yield note("portal", f"{portal} (used by a volume on this node): {error}", _ADVICE)
            else:
                advice = f"if the array no longer exists, run on the host: iscsiadm -m node -p {portal} -o delete"
                yield note("portal", f"{portal} (recorded by open-iscsi): {error}", advice)


_ADVICE = "check the route, the firewall and the address on the array"


def attempt(portal: Portal) -> str:
    """Connect, without sending data. Returns the error, or ""."""
    try:
        socket.create_connection((portal.host, portal.port), CONNECT_SECONDS).close()
    except TimeoutError:
        return f"no response within {CONNECT_SECONDS:g} s"
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


def _used(state_dir: Path) -> Iterator[Portal]:
    """Portals of the volumes staged on this node, from its stage records. Portals are not secret, so they are never sealed."""
    try:
        records = sorted((state_dir / "stage").glob("*.json"))
    except OSError:
        return
    for record in records:
        try:
            connection = json.loads(record.read_bytes())["connection"]
            yield from of_connection(connection["protocol"], connection["data"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # the node itself reports it


def of_connection(protocol: str, data: Mapping[str, Any]) -> list[Portal]:
    """The TCP portals in a driver's connection info."""
    if protocol in ("iscsi", "iser"):
        texts = [data.get("target_portal"), *(data.get("target_portals") or ())]
    elif protocol in ("nvmeof", "nvme"):
        tuples = [
            (data.get("target_portal"), data.get("target_port"), data.get("transport_type") or "tcp"),
            *(data.get("portals") or ()),
        ]
        texts = [_joined(*item[:2]) for item in tuples if len(item) == 3 and str(item[2]).lower() == "tcp"]
    else:
        texts = []
    found = []
    for text in texts:
        with suppress(InvalidRequest):
            found.append(parse(str(text)))
    return found


def _joined(address: object, port: object) -> str:
    bare = str(address).strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
