"""By which protocols the back ends of a configuration are attached, as far as that can be told without setting them up."""

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
"""What drivers and their options call protocols, in lower case."""
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
    """The protocols that must work on this host, and how that is known. A controller alone attaches nothing."""
    if settings.mode is not Mode.ALL:
        return frozenset(), []
    needed: set[str] = set()
    told = []
    for backend in settings.backends:
        protocol = of_backend(backend)
        what = f"back end {backend.name}"
        if protocol is None:
            told.append(
                unknown(what, "its protocol is not known before it is set up", "run check, then doctor --protocol NAME")
            )
        elif protocol:
            needed.add(protocol)
            told.append(ok(what, f"needs {protocol} here"))
    return frozenset(needed), told


def of_backend(backend: BackendSettings) -> str | None:
    """A name that `doctor --protocol` takes; "" for one that needs none, None where it cannot be told."""
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
