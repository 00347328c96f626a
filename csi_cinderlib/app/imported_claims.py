"""Makes and removes the Kubernetes objects of imported volumes and snapshots."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.errors import AlreadyExists, InvalidRequest, PreconditionFailed
from csi_cinderlib.model.encryption import ENCRYPTION
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.provisioning import imported_objects
from csi_cinderlib.provisioning.imported_objects import Json, Name, Use

_PATHS = {
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "VolumeSnapshotContent": "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents",
    "VolumeSnapshot": "/apis/snapshot.storage.k8s.io/v1/namespaces/{namespace}/volumesnapshots",
}
_DRY_RUN = "?dryRun=All"
_HOW = "or print the objects with --manifests and apply them with an account that may create them"


def check_class(client: Client, record: Volume, storage_class: str) -> None:
    """Check that the class of the PersistentVolume, if it exists, has the encryption of the volume. Users rely on what their class says.

    Raises:
        InvalidRequest: it has another one.
        PreconditionFailed: this account may not read it. ApiError.
    """
    if not storage_class:
        return
    try:
        found = client.get(f"/apis/storage.k8s.io/v1/storageclasses/{storage_class}")
    except ApiError as error:
        if error.status == 404:
            return
        if error.status == 403:
            raise PreconditionFailed(
                f"cannot read StorageClass {storage_class}: {error}; grant this right, {_HOW}"
            ) from error
        raise
    told = str((found.get("parameters") or {}).get(ENCRYPTION, ""))
    if told != record.encryption:
        raise InvalidRequest(
            "storage class",
            f"{storage_class} has encryption {told or 'none'}, but the volume is imported with {record.encryption or 'none'}; "
            "name another class, or none",
        )


def objects(client: Client | None, record: Volume, use: Use) -> list[Json]:
    """The objects of a volume that must be created.

    Args:
        client: None if the cluster is not asked whether the claim exists.

    Raises:
        AlreadyExists: the claim exists and differs.
        InvalidRequest, PreconditionFailed: see `check_class`. ApiError.
    """
    if client is not None:
        check_class(client, record, use.storage_class)
    if use.claim is None:
        return [imported_objects.persistent_volume(record, use)]
    found = _find(client, "PersistentVolumeClaim", use.claim) if client is not None else None
    if found is None:
        return [imported_objects.persistent_volume(record, use), imported_objects.claim(record, use)]
    if found["metadata"].get("deletionTimestamp"):
        raise AlreadyExists("claim", str(use.claim), "it is being deleted; wait until it is gone")
    if (found.get("spec") or {}).get("volumeName") != imported_objects.volume_name(record) and (
        differs := imported_objects.difference(found, use, record.size)
    ):
        raise AlreadyExists("claim", str(use.claim), differs)
    uid = str(found["metadata"].get("uid", ""))
    return [imported_objects.persistent_volume(record, use, claim_uid=uid)]


def has_holder(client: Client, record: Volume, driver: str) -> bool:
    """Whether the PersistentVolume of an import exists. What an administrator may change in it is not compared. Raises ApiError."""
    found = _find(client, "PersistentVolume", Name(namespace="", name=imported_objects.volume_name(record)))
    return found is not None and imported_objects.is_holder({**found, "kind": "PersistentVolume"}, driver, [record.id])


def create(client: Client, wanted: Sequence[Json], *, dry_run: bool = False) -> list[str]:
    """Create the objects; returns their descriptions. Can be repeated.

    Args:
        dry_run: the API server only checks them, also the rights of this account.

    Raises:
        AlreadyExists: an object of the name differs, or is being deleted.
        PreconditionFailed: this account may not create them.
        ApiError, StoreUnavailable.
    """
    return [_create(client, item, _DRY_RUN if dry_run else "") for item in wanted]


def _create(client: Client, wanted: Json, query: str) -> str:
    shown = describe(wanted)
    try:
        client.post(_path(wanted) + query, wanted)
    except ApiError as error:
        if error.status == 403:
            raise PreconditionFailed(f"cannot create {shown}: {error}; grant this right, {_HOW}") from error
        if error.status != 409:
            raise
        found = client.get(f"{_path(wanted)}/{wanted['metadata']['name']}")
        if problem := imported_objects.unlike(found, wanted):
            raise AlreadyExists(wanted["kind"], shown, problem) from error
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The result of a removal.

    Attributes:
        asked: descriptions of the objects that are being removed.
        left: descriptions of those that still exist, with the reason.
    """

    asked: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def remove(
    client: Client, kinds: Sequence[str], driver: str, ids: Collection[str], *, with_users: bool = True
) -> Removed:
    """Remove the objects that imports with these ids made. Call it before the volume is given up, until none is left.

    A PersistentVolume keeps its volume from now on, also if its policy was to delete it. Objects of other drivers and installations
    have other names of the driver or other handles.

    Args:
        kinds: `PersistentVolume` or `VolumeSnapshotContent`.
        with_users: also remove their claims and VolumeSnapshots, if the import made them.

    Raises:
        PreconditionFailed: this account may not remove one of them.
        ApiError, StoreUnavailable.
    """
    asked: list[str] = []
    left: list[str] = []
    for kind in kinds:
        for item in _all(client, kind):
            holder = {**item, "kind": kind}
            if not imported_objects.is_holder(holder, driver, ids):
                continue
            user = _user(client, holder) if with_users else None
            _keep_volume(client, holder)
            both = (user, holder)  # the user first: while it exists, its holder is protected
            asked.extend(describe(found) for found in both if found is not None and _delete(client, found))
            if _find(client, kind, Name(namespace="", name=holder["metadata"]["name"])) is not None:
                left.append(f"{describe(holder)}{imported_objects.used_by(holder)}")
    return Removed(asked=tuple(asked), left=tuple(left))


def _keep_volume(client: Client, holder: Json) -> None:
    """The provisioner deletes the volume of a released PersistentVolume whose policy is Delete."""
    if (holder.get("spec") or {}).get("persistentVolumeReclaimPolicy") != "Delete":
        return
    keep = {"op": "replace", "path": "/spec/persistentVolumeReclaimPolicy", "value": "Retain"}
    with _allowed(f"change {describe(holder)}"):
        client.patch(f"{_path(holder)}/{holder['metadata']['name']}", [keep])


def _user(client: Client, holder: Json) -> Json | None:
    """The claim of a PersistentVolume, or the VolumeSnapshot of a content, if the import made it."""
    spec = holder.get("spec") or {}
    user = spec.get("claimRef") or spec.get("volumeSnapshotRef") or {}
    kind = "PersistentVolumeClaim" if holder["kind"] == "PersistentVolume" else "VolumeSnapshot"
    if not user.get("name"):
        return None
    found = _find(client, kind, Name(namespace=user["namespace"], name=user["name"]))
    is_own = found is not None and imported_objects.is_user(found, holder)
    return {**found, "kind": kind} if is_own and found is not None else None


def _delete(client: Client, item: Json) -> bool:
    """Delete exactly this object. Returns whether it was asked for the first time."""
    if item["metadata"].get("deletionTimestamp"):
        return False
    with _allowed(f"remove {describe(item)}"):
        only = {"preconditions": {"uid": item["metadata"]["uid"]}}
        client.delete(f"{_path(item)}/{item['metadata']['name']}", only)
    return True


@contextmanager
def _allowed(what: str) -> Iterator[None]:
    """Raises PreconditionFailed if this account may not do it. An object that is gone, or another one, needs nothing."""
    try:
        yield
    except ApiError as error:
        if error.status == 403:
            raise PreconditionFailed(f"cannot {what}: {error}; do it with kubectl") from error
        if error.status not in (404, 409):
            raise


def describe(item: Json) -> str:
    """The kind and name of an object."""
    metadata = item["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    return f"{item['kind']} {name}"


def _find(client: Client, kind: str, name: Name) -> Json | None:
    try:
        return client.get(f"{_PATHS[kind].format(namespace=name.namespace)}/{name.name}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _all(client: Client, kind: str) -> Iterator[Any]:
    """All objects of a cluster-wide kind; none if the cluster does not have the kind. Raises PreconditionFailed."""
    try:
        yield from _listed(client, _PATHS[kind])
    except ApiError as error:
        if error.status == 403:
            raise PreconditionFailed(
                f"cannot list {kind}s: {error}; remove those of the import yourself, and undo it with --manifests"
            ) from error
        if error.status != 404:
            raise


def _listed(client: Client, path: str) -> Iterator[Any]:
    query = {"limit": "500"}
    while True:
        page = client.get(path, **query)
        yield from page.get("items") or ()
        query["continue"] = str((page.get("metadata") or {}).get("continue") or "")
        if not query["continue"]:
            return


def _path(item: Json) -> str:
    return _PATHS[item["kind"]].format(namespace=item["metadata"].get("namespace", ""))
