"""Fibre Channel: the host's HBAs and their links."""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.commands.examination.findings import Finding, Level, note, ok, problem
from csi_cinderlib.commands.examination.host import Host

FOLDER = "sys/class/fc_host"
_WHAT = "fibre channel HBA"


def examine(host: Host, required: frozenset[str]) -> Iterator[Finding]:
    needed = "fibre_channel" in required
    ports = [
        _port(name, item) for name, item in host.attributes(FOLDER, "port_name", "port_state", "speed", "port_type")
    ]
    if not ports:
        detail = f"no HBA found in /{FOLDER}"
        yield problem(_WHAT, detail, "install an HBA, or load its driver (lpfc, qla2xxx)", required=needed)
        return
    yield from ports
    if all(port.level is not Level.OK for port in ports):
        yield problem(_WHAT, "no port is online", "check cables, SFPs and the switch ports", required=needed)


def _port(name: str, item: dict[str, str]) -> Finding:
    where = f"{name} {item['port_name'] or 'without a WWPN'}: {item['port_state'] or 'state unknown'}"
    if item["port_state"] != "Online":
        return note(_WHAT, where, "check the cable, the SFP and the switch port")
    return ok(_WHAT, ", ".join(filter(None, (where, item["speed"], item["port_type"]))))
