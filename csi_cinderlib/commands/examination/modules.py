"""Whether the running kernel has a module or can load it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_cinderlib.commands.examination.findings import Finding, ok, problem, unknown
from csi_cinderlib.commands.examination.host import HIDDEN, Host
from csi_cinderlib.errors import HostError


class State(enum.Enum):
    PRESENT = enum.auto()
    LOADABLE = enum.auto()
    ABSENT = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Module:
    """State of a kernel module.

    Attributes:
        detail: the reason for the state, as a clause.
    """

    name: str
    state: State
    detail: str

    @property
    def works(self) -> bool:
        return self.state in (State.PRESENT, State.LOADABLE)


_TRACES = {
    "nvme_fc": "sys/class/fc",
    "iscsi_tcp": "sys/class/iscsi_transport/tcp",
    "ib_iser": "sys/class/iscsi_transport/iser",
}
"""Files that only this module creates. A built-in module without parameters has no directory in /sys/module."""


def look(host: Host, name: str) -> Module:
    """Check the running kernel, then what modprobe would do. No module is loaded."""
    if host.has(f"sys/module/{name}") or host.has(_TRACES.get(name, f"sys/module/{name}")):
        return Module(name, State.PRESENT, "is in the running kernel")
    if not host.has("proc/modules") and host.has("proc/version"):
        return Module(name, State.ABSENT, "is not in the running kernel, which does not support modules")
    if (host.text("proc/sys/kernel/modules_disabled") or "").strip() == "1":
        return Module(name, State.ABSENT, "is not loaded, and kernel.modules_disabled forbids loading it")
    if host.files is None:
        return Module(name, State.UNKNOWN, f"is not loaded; cannot check whether it can be loaded: {HIDDEN}")
    return _on_disk(host, name)


def _on_disk(host: Host, name: str) -> Module:
    release = (host.text("proc/sys/kernel/osrelease") or "").strip()
    folder = f"lib/modules/{release}"
    listed = host.host_text(f"{folder}/modules.builtin")
    if listed is not None and _lists(listed, name):
        return Module(name, State.PRESENT, "is built into the kernel")
    depends = host.host_text(f"{folder}/modules.dep")
    if depends is None:
        return Module(name, State.ABSENT, f"is not loaded, and the host has no directory /{folder}")
    if not _lists(depends, name):
        return Module(name, State.ABSENT, f"is neither loaded nor in /{folder}")
    return _by_modprobe(host, name)


def _by_modprobe(host: Host, name: str) -> Module:
    """Check the host's modprobe configuration: hardened hosts block a module with `install NAME /bin/false`."""
    try:
        steps = host.says_on_host("modprobe", "--dry-run", "--verbose", name)
    except HostError as error:
        return Module(name, State.UNKNOWN, f"is on disk; cannot check whether it can be loaded: {error}")
    return judge_steps(name, steps)


def judge_steps(name: str, steps: str) -> Module:
    """The module's state by the output of `modprobe --dry-run --verbose`."""
    refused = [line.strip() for line in steps.splitlines() if line.split()[:2] in _REFUSALS]
    if refused:
        return Module(
            name, State.ABSENT, f"is not loaded, and the host's modprobe configuration blocks it: {refused[0]}"
        )
    return Module(name, State.LOADABLE, "is not loaded yet; modprobe can load it")


_REFUSALS = [
    ["install", f"{folder}/{program}"]
    for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
    for program in ("false", "true")
]


def _lists(text: str, name: str) -> bool:
    """Whether modules.dep or modules.builtin lists the module, as in kernel/drivers/scsi/iscsi_tcp.ko.xz; some names have - for _."""
    for line in text.splitlines():
        file = line.partition(":")[0].rpartition("/")[2]
        if file.partition(".ko")[0].replace("-", "_") == name:
            return True
    return False


def finding(host: Host, what: str, name: str, *, required: bool) -> Finding:
    """The finding for a module that a protocol needs."""
    module = look(host, name)
    detail = f"{name} {module.detail}"
    if module.works:
        return ok(what, detail)
    if module.state is State.UNKNOWN:
        return unknown(what, detail, f"run on the host: modprobe --dry-run {name}")
    return problem(
        what, detail, f"install the kernel package that contains {name}, or use a kernel that has it", required=required
    )
