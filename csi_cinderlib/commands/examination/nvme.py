"""NVMe over Fabrics: modules, the host's identity, native multipathing and connected controllers."""

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
    """One transport is enough. The back end's transport is only known from a connection."""
    found = [modules.look(host, name) for name in _TRANSPORTS]
    clauses = "; ".join(f"{module.name} {module.detail}" for module in found)
    if any(module.works for module in found):
        return ok("nvme modules", clauses)
    if any(module.state is modules.State.UNKNOWN for module in found):
        return unknown("nvme modules", clauses, "run on the host: modprobe --dry-run nvme_tcp")
    advice = "install the kernel package that contains nvme_tcp (or nvme_rdma, nvme_fc), or use a kernel that has it"
    return problem("nvme modules", clauses, advice, required=required)


def _identity(host: Host, *, required: bool) -> Finding:
    nqn, id = ((host.text(f"etc/nvme/{name}") or "").strip("\0\n ") for name in ("hostnqn", "hostid"))
    if not nqn and not id:
        advice = "nothing to do; to set it yourself: nvme gen-hostnqn >/etc/nvme/hostnqn"
        return note("nvme host name", "/etc/nvme/hostnqn does not exist; a node creates it when it starts", advice)
    if complaint := judge_identity(nqn, id):
        advice = (
            "write a unique UUID to /etc/nvme/hostid, and nqn.2014-08.org.nvmexpress:uuid:UUID to /etc/nvme/hostnqn"
        )
        return problem("nvme host name", complaint, advice, required=required)
    named = _BY_UUID.fullmatch(nqn)
    if named and named[1].lower() != str(uuid.UUID(id)):
        detail = f"hostnqn has UUID {named[1]}, but hostid is {id}: arrays may treat them as two hosts"
        return note(
            "nvme host name", detail, "disconnect all controllers, then write the UUID of hostnqn to /etc/nvme/hostid"
        )
    others = {item["hostnqn"] for _, item in host.attributes("sys/class/nvme", "hostnqn")} - {"", nqn}
    if others:
        detail = f"is {nqn}, but controllers are connected as {', '.join(sorted(others))}"
        return note("nvme host name", detail, "reconnect them, so that the array sees a single name")
    return ok("nvme host name", f"{nqn}, id {id}")


def judge_identity(nqn: str, id: str) -> str:
    """The fault in a host's NQN and id; "" if there is none."""
    if not nqn or not id:
        return (
            f"/etc/nvme/{'hostnqn' if id else 'hostid'} is missing or empty, but {'hostid' if id else 'hostnqn'} exists"
        )
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
        return ok("nvme multipath", "native multipathing is on (nvme_core.multipath=Y)")
    advice = "boot with nvme_core.multipath=Y, on a kernel with CONFIG_NVME_MULTIPATH"
    if value == "N":
        return problem(
            "nvme multipath", "native multipathing is off (nvme_core.multipath=N)", advice, required=required
        )
    if host.has("sys/module/nvme_core"):
        return problem("nvme multipath", "the kernel was built without native multipathing", advice, required=required)
    return unknown("nvme multipath", "not checked: nvme_core is not loaded")


def _controllers(host: Host) -> Iterator[Finding]:
    for name, item in host.attributes("sys/class/nvme", "state", "transport", "address", "subsysnqn"):
        if item["transport"] not in ("", "pcie") and item["state"] not in ("live", ""):
            detail = f"{name} ({item['transport']} {item['address']}) is {item['state']}"
            yield note("nvme controller", detail, "check the network to the portal; run on the host: nvme list-subsys")
