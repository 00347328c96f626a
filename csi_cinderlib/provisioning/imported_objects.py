"""The Kubernetes objects of an imported volume or snapshot. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.encryption import ENCRYPTION
from csi_cinderlib.model.records import EMPTY, Snapshot, Volume

Json = dict[str, Any]
ORIGIN = "cinderlib.io/imported-from"
"""Annotation of objects made by an import: `BACKEND/NAME`, the name before the import."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""Annotation by which the provisioner and the resizer know that a PersistentVolume is theirs."""
ACCESS_MODES: Mapping[str, AccessMode] = {
    "ReadWriteOnce": AccessMode.SINGLE_NODE_WRITER,
    "ReadWriteOncePod": AccessMode.SINGLE_NODE_SINGLE_WRITER,
    "ReadOnlyMany": AccessMode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": AccessMode.MULTI_NODE_MULTI_WRITER,
}
"""Kubernetes' access modes, as the provisioner translates them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The name of an object in a namespace."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str, field: str) -> Name:
        """From `NAMESPACE/NAME`. Raises InvalidRequest."""
        namespace, slash, name = text.partition("/")
        if not slash or not namespace or not name or "/" in name:
            raise InvalidRequest(field, f"must be NAMESPACE/NAME (got {text!r})")
        return cls(namespace=namespace, name=name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How Kubernetes uses an imported volume.

    Attributes:
        driver: name of the CSI driver.
        claim: the claim to which the PersistentVolume is bound; None leaves it unbound.
        access_modes: keys of ACCESS_MODES.
        fs_type: "" mounts the file system that is there.
        topology: labels of the nodes that reach the back end.
        key_secret: the node-stage Secret with the key of an encrypted volume.
    """

    driver: str
    claim: Name | None = None
    storage_class: str = ""
    access_modes: Sequence[str] = ("ReadWriteOnce",)
    block: bool = False
    fs_type: str = ""
    reclaim_policy: str = "Retain"
    topology: Mapping[str, str] = EMPTY
    key_secret: Name | None = None


def require_key(encryption: str, key_secret: Name | None, field: str) -> None:
    """Raises InvalidRequest unless there is a Secret exactly if the volume is encrypted."""
    if encryption and key_secret is None:
        raise InvalidRequest(field, "must name the Secret with the key of an encrypted volume")
    if key_secret is not None and not encryption:
        raise InvalidRequest(field, "must not be given for a volume in plain; name its encryption as well")


def volume_name(record: Volume) -> str:
    """The name of the PersistentVolume."""
    return f"imported-{record.id}"


def persistent_volume(record: Volume, use: Use, *, claim_uid: str = "") -> Json:
    """The PersistentVolume, reserved for its claim.

    Args:
        claim_uid: of the claim, if it exists already.
    """
    csi: Json = {"driver": use.driver, "volumeHandle": record.id}
    csi["volumeAttributes"] = {"backend": record.backend, "pool": record.pool}
    if use.fs_type and not use.block:
        csi["fsType"] = use.fs_type
    if record.encryption:
        assert use.key_secret is not None, "see require_key"
        csi["volumeAttributes"][ENCRYPTION] = record.encryption
        csi["nodeStageSecretRef"] = {"namespace": use.key_secret.namespace, "name": use.key_secret.name}
    spec: Json = {
        "storageClassName": use.storage_class,
        "capacity": {"storage": f"{record.size}Gi"},
        "accessModes": list(use.access_modes),
        "volumeMode": "Block" if use.block else "Filesystem",
        "persistentVolumeReclaimPolicy": use.reclaim_policy,
        "csi": csi,
    }
    if use.claim is not None:
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        reference |= {"namespace": use.claim.namespace, "name": use.claim.name}
        spec["claimRef"] = reference | ({"uid": claim_uid} if claim_uid else {})
    if use.topology:
        spec["nodeAffinity"] = _node_affinity(use.topology)
    metadata = {"name": volume_name(record), "annotations": {PROVISIONED_BY: use.driver, **_origin(record)}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def claim(record: Volume, use: Use) -> Json:
    """The claim of the PersistentVolume."""
    assert use.claim is not None, "there is no claim"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "namespace": use.claim.namespace,
            "name": use.claim.name,
            "annotations": _origin(record),
        },
        "spec": {
            "storageClassName": use.storage_class,
            "volumeName": volume_name(record),
            "accessModes": list(use.access_modes),
            "volumeMode": "Block" if use.block else "Filesystem",
            "resources": {"requests": {"storage": f"{record.size}Gi"}},
        },
    }


def snapshot_objects(record: Snapshot, name: Name, driver: str) -> tuple[Json, Json]:
    """The VolumeSnapshotContent, which never deletes the snapshot, and its VolumeSnapshot."""
    content_name = f"imported-{record.id}"
    content = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": content_name, "annotations": _origin(record)},
        "spec": {
            "driver": driver,
            "deletionPolicy": "Retain",
            "source": {"snapshotHandle": record.id},
            "volumeSnapshotRef": {"namespace": name.namespace, "name": name.name},
        },
    }
    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"namespace": name.namespace, "name": name.name, "annotations": _origin(record)},
        "spec": {"source": {"volumeSnapshotContentName": content_name}},
    }
    return content, snapshot


def difference(found: Json, use: Use, gib: int) -> str:
    """Why an existing claim cannot be bound to the imported volume, as a clause, or "".

    The class of the claim may differ only if none was named.
    """
    spec, phase = found.get("spec") or {}, (found.get("status") or {}).get("phase", "")
    if phase == "Bound" or spec.get("volumeName"):
        return f"it is bound to PersistentVolume {spec.get('volumeName')!r}"
    if use.storage_class != (spec.get("storageClassName") or ""):
        return f"its storage class is {spec.get('storageClassName')!r}, not {use.storage_class!r}"
    if missing := sorted(set(spec.get("accessModes") or ()) - set(use.access_modes)):
        return f"it needs access mode {', '.join(missing)}"
    if (spec.get("volumeMode") or "Filesystem") != ("Block" if use.block else "Filesystem"):
        return f"its volume mode is {spec.get('volumeMode')}"
    request = str(((spec.get("resources") or {}).get("requests") or {}).get("storage", ""))
    if (wanted := bytes_of(request)) is None or wanted > gib * 1024**3:
        return f"it requests {request}, and the volume has {gib}Gi"
    return ""


_UNITS: Mapping[str, Decimal] = {
    "": Decimal(1),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(r"(\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?)([A-Za-z]{0,2})")


def bytes_of(quantity: str) -> int | None:
    """Kubernetes' notation of a size in bytes, such as `10Gi`, `1.5Ti` or `1e9`, rounded up; None if it has another form."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None or found[2] not in _UNITS:
        return None
    return math.ceil(Decimal(found[1]) * _UNITS[found[2]])


_CHANGEABLE = ("capacity", "resources", "persistentVolumeReclaimPolicy", "nodeAffinity")


def unlike(found: Json, wanted: Json) -> str:
    """Why an existing object is not the wanted one, as a clause, or "".

    Sizes may have grown since, and an administrator may have changed the policy, or the topology of the back end.
    """
    if found["metadata"].get("deletionTimestamp"):
        return "it is still being deleted; wait until it is gone"
    if ORIGIN not in (found["metadata"].get("annotations") or {}):
        return "it was not made by this import"
    spec = {key: value for key, value in wanted["spec"].items() if key not in _CHANGEABLE}
    different = _difference(found.get("spec") or {}, spec, "spec")
    is_bound = (found.get("status") or {}).get("phase") == "Bound"
    remedy = "change the request" if is_bound else "delete it, or change the request"
    return f"it differs in {different}; {remedy}" if different else ""


def _difference(found: Any, wanted: Any, path: str) -> str:
    """The first field of `wanted` that `found` has not, or "". The API server leaves out empty text."""
    if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
        return "" if (found or None) == (wanted or None) else path
    parts = (
        _difference(found.get(key), value, f"{path}.{key}")
        for key, value in wanted.items()
        if key != "uid" or key in found
    )
    return next((part for part in parts if part), "")


def is_holder(item: Json, driver: str, ids: Collection[str]) -> bool:
    """Whether an import with one of the ids made this PersistentVolume or VolumeSnapshotContent."""
    spec = item.get("spec") or {}
    source = spec.get("csi") or {}
    name, handle = source.get("driver"), source.get("volumeHandle")
    if item["kind"] == "VolumeSnapshotContent":
        name, handle = spec.get("driver"), (spec.get("source") or {}).get("snapshotHandle")
    return name == driver and handle in ids and ORIGIN in (item["metadata"].get("annotations") or {})


def is_user(item: Json, holder: Json) -> bool:
    """Whether an import made this claim or VolumeSnapshot for its holder."""
    spec = item.get("spec") or {}
    used = spec.get("volumeName") or (spec.get("source") or {}).get("volumeSnapshotContentName")
    return used == holder["metadata"]["name"] and ORIGIN in (item["metadata"].get("annotations") or {})


def used_by(holder: Json) -> str:
    """The claim or VolumeSnapshot that keeps an object, as an addition to its description."""
    spec = holder.get("spec") or {}
    user = spec.get("claimRef") or spec.get("volumeSnapshotRef") or {}
    return f" (of {user.get('namespace')}/{user['name']})" if user.get("name") else ""


def _origin(record: Volume | Snapshot) -> dict[str, str]:
    name = record.imported.name if record.imported else ""
    return {ORIGIN: f"{record.backend}/{name}"}


def _node_affinity(topology: Mapping[str, str]) -> Json:
    expressions = [{"key": key, "operator": "In", "values": [value]} for key, value in sorted(topology.items())]
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}
