"""Protocols of the configured back ends, as far as they are known without setting them up."""

from __future__ import annotations

import re

from csi_cinderlib.commands.examination.findings import Finding, ok, unknown
from csi_cinderlib.config.settings import BackendSettings, Mode, Settings

_WORDS = {
    "iscsi": "iscsi",
    "iser": "iser",
    "fc": "fibre_channel",
    "fibrechannel": "fibre_channel",
    "fibre_channel": "fibre_channel",
    "nvme": "nvmeof",
    "nvmet": "nvmeof",
    "nvme_tcp": "nvmeof",
    "nvmet_tcp": "nvmeof",
    "nvmet_rdma": "nvmeof",
    "nvmeof": "nvmeof",
    "nvme-of": "nvmeof",
    "nfs": "nfs",
    "rbd": "rbd",
    "quobyte": "quobyte",
    "vzstorage": "vzstorage",
    "lightos": "lightos",
    "gpfs": "gpfs",
    "storpool": "storpool",
}
"""Protocols by their names in drivers and options, in lower case."""
_IN_CLASS = re.compile(
    r"FibreChannel|ISCSI|iSCSI|Iscsi|FC(?=Driver|$|[A-Z])|NVMe(?:oF)?|NVMET?|Nfs|NFS|RBD|Quobyte|VZStorage|LightOS|GPFS|StorPool"
)
_OPTIONS = (
    "target_protocol",
    "storage_protocol",
    "netapp_storage_protocol",
    "infinidat_storage_protocol",
    "qnap_storage_protocol",
)


def of_settings(settings: Settings) -> tuple[frozenset[str], list[Finding]]:
    """The protocols that must work on this host, with findings. A controller that is not a node attaches nothing."""
    if settings.mode is not Mode.ALL:
        return frozenset(), []
    needed: set[str] = set()
    findings = []
    for backend in settings.backends:
        protocol = of_backend(backend)
        what = f"back end {backend.name}"
        if protocol is None:
            findings.append(
                unknown(
                    what,
                    "its protocol is only known after set-up",
                    "run `csi-cinderlib check`, then `csi-cinderlib doctor --protocol NAME`",
                )
            )
        elif protocol:
            needed.add(protocol)
            findings.append(ok(what, f"needs {protocol} here"))
    return frozenset(needed), findings


def of_backend(backend: BackendSettings) -> str | None:
    """The protocol as a value of `doctor --protocol`; "" if the back end needs none, None if it is unknown."""
    for option in _OPTIONS:
        if value := str(backend.options.get(option) or ""):
            return _WORDS.get(value.lower())
    name = backend.driver.rpartition(".")[2]
    if name == "LoopFileDriver":
        return ""
    if name == "LVMVolumeDriver":
        return "nvmeof" if backend.options.get("target_helper") in ("nvmet", "spdk-nvmeof") else "iscsi"
    found = {_WORDS[word.lower()] for word in _IN_CLASS.findall(name)}
    return found.pop() if len(found) == 1 else None
