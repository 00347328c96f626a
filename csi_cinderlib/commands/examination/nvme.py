"""NVMe over Fabrics: modules, the host's identity, native multipathing, and controllers that are connected."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

from csi_cinderlib.commands.examination import modules
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.commands.examination.host import Host

PROTOCOLS = frozenset({"nvmeof", "nvme", "lightos"})
_TRANSPORTS = ("nvme_tcp", "nvme_rdma", "nvme_fc")
_BY_UUID = re.compile(r"nqn\.2014-08\.org\.nvmexpress:uuid:([0-9a-fA-F-]{36})")
_PARAMETER = "sys/module/nvme_core/parameters/multipath"


def examine(host: Host, required: frozenset[str], *, multipath: bool) -> Iterator[Finding]:
    needed = bool(required & PROTOCOLS)
    yield _modules(host, required=needed)
    yield _identity(host, required=needed)
    yield _multipathing(host, required=needed and multipath)
    yield from _controllers(host)


def _modules(host: Host, *, required: bool) -> Finding:
    """One transport is enough; which one the back end speaks, only a connection tells."""
    found = [modules.look(host, name) for name in _TRANSPORTS]
    clauses = "; ".join(f"{module.name} {module.detail}" for module in found)
    if any(module.works for module in found):
        return ok("nvme modules", clauses)
    if any(module.state is modules.State.UNKNOWN for module in found):
        return unknown("nvme modules", clauses, "run on the host: modprobe --dry-run nvme_tcp")
    advice = "install the kernel's package with nvme_tcp (or nvme_rdma, nvme_fc), or use a kernel that has it"
    return problem("nvme modules", clauses, advice, required=required)


def _identity(host: Host, *, required: bool) -> Finding:
    nqn, id = ((host.text(f"etc/nvme/{name}") or "").strip("\0\n ") for name in ("hostnqn", "hostid"))
    if not nqn and not id:
        advice = "none needed; to choose it yourself: nvme gen-hostnqn >/etc/nvme/hostnqn"
        return note("nvme host name", "/etc/nvme/hostnqn does not exist; a node makes one at its start", advice)
    if complaint := judge_identity(nqn, id):
        advice = "write a UUID of this host alone into /etc/nvme/hostid, and nqn.2014-08.org.nvmexpress:uuid:UUID into hostnqn"
        return problem("nvme host name", complaint, advice, required=required)
    named = _BY_UUID.fullmatch(nqn)
    if named and named[1].lower() != str(uuid.UUID(id)):
        detail = f"hostnqn names the UUID {named[1]}, and hostid is {id}: arrays may take them for two hosts"
        return note(
            "nvme host name", detail, "while nothing is connected, write the UUID of hostnqn into /etc/nvme/hostid"
        )
    others = {item["hostnqn"] for _, item in host.attributes("sys/class/nvme", "hostnqn")} - {"", nqn}
    if others:
        detail = f"is {nqn}, but controllers are connected as {', '.join(sorted(others))}"
        return note(
            "nvme host name", detail, "disconnect them and connect again, so that the array knows one name only"
        )
    return ok("nvme host name", f"{nqn}, id {id}")


def judge_identity(nqn: str, id: str) -> str:
    """What is wrong with a host's NQN and id; "" if nothing."""
    if not nqn or not id:
        return f"/etc/nvme/{'hostnqn' if id else 'hostid'} is missing or empty, and {'hostid' if id else 'hostnqn'} is there"
    if not nqn.startswith("nqn.") or len(nqn) > 223:
        return f"/etc/nvme/hostnqn holds {nqn[:60]!r}, which is not an NQN"
    try:
        parsed = uuid.UUID(id)
    except ValueError:
        return f"/etc/nvme/hostid holds {id[:60]!r}, which is not a UUID"
    if parsed.int == 0:
        return "/etc/nvme/hostid is all zeros"
    return ""


def _multipathing(host: Host, *, required: bool) -> Finding:
    value = (host.text(_PARAMETER) or "").strip()
    if value == "Y":
        return ok("nvme multipath", "the kernel's own is on (nvme_core.multipath=Y)")
    advice = "boot with nvme_core.multipath=Y, on a kernel with CONFIG_NVME_MULTIPATH"
    if value == "N":
        return problem("nvme multipath", "the kernel's own is off (nvme_core.multipath=N)", advice, required=required)
    if host.has("sys/module/nvme_core"):
        return problem("nvme multipath", "the kernel was built without it", advice, required=required)
    return unknown("nvme multipath", "nvme_core is not loaded, so it shows no parameter yet")


def _controllers(host: Host) -> Iterator[Finding]:
    for name, item in host.attributes("sys/class/nvme", "state", "transport", "address", "subsysnqn"):
        if item["transport"] not in ("", "pcie") and item["state"] not in ("live", ""):
            detail = f"{name} ({item['transport']} {item['address']}) is {item['state']}"
            yield note("nvme controller", detail, "check the network to the portal; on the host: nvme list-subsys")
