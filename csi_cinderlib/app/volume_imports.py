"""Carries out VolumeImport objects: imports the volume, makes its PersistentVolume, and gives the volume up when the object is deleted.

An object is Ready while its volume has a record and a PersistentVolume. Only the store and the API are asked for that, so neither a busy
volume nor a back end that is away makes it unready. The end of its volume ends it: it never imports another object of the name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from csi_cinderlib.app import imported_claims
from csi_cinderlib.errors import (
    BackendUnavailable,
    DriverError,
    InUse,
    InvalidRequest,
    NotFound,
    NotReady,
    OperationPending,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle.lookup import check_whole
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.kubernetes.resources import IMPORT, LABEL
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.provisioning import imported_objects
from csi_cinderlib.provisioning.imported_objects import ACCESS_MODES, Name, Use
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin

LOOK_SECONDS = 5.0
RETRY_SECONDS = 30.0
"""First pause after a refusal; it doubles with each one, because a check may list all volumes of an array."""
LONGEST_SECONDS = 600.0
"""Longest pause, also between two looks at an import that is Ready."""
FINALIZER = f"{LABEL}import"
"""Keeps a deleted object until its volume has been given up."""

_PASSING = (BackendUnavailable, NotReady, OperationPending, StoreUnavailable)
_DELETED = "Deleted"
"""The reason of an object whose import has ended for good."""
_UNFINISHED = (Status.IMPORTING, Status.UNMANAGING, Status.DELETING)

Json = dict[str, Any]
_log = logs.logger(__name__)


class VolumeImports:
    """The VolumeImport objects of a namespace.

    Args:
        importing: the imports of this controller. Raises NotReady.
        working: held during a change, so that the process does not end in the meantime.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        driver_name: str,
        importing: Callable[[], Importing],
        working: AbstractContextManager[Any],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._driver_name = driver_name
        self._importing = importing
        self._working = working
        self._clock = clock
        self._living: frozenset[str] = frozenset()
        """The uids of all objects."""
        self._pauses: dict[str, tuple[float, float]] = {}
        """The time of the next attempt, and the pause before it, by object."""

    def look(self) -> None:
        """Carry out new and deleted objects. Raises ApiError or StoreUnavailable if they cannot be listed."""
        try:
            found = self._client.get(IMPORT.path(self._namespace))["items"]
        except ApiError as error:
            if error.status in (403, 404):  # definitions or rules of an earlier version
                return
            raise
        now = self._clock()
        known, self._pauses = self._pauses, {}
        self._living = frozenset(item["metadata"]["uid"] for item in found)
        for item in found:
            metadata = item["metadata"]
            if _reason(item) == _DELETED and not metadata.get("deletionTimestamp"):
                continue
            key = f"{metadata['uid']} {metadata.get('deletionTimestamp', '')} {_is_ready(item)}"
            begin, pause = known.get(key) or _first(item, now)
            if now >= begin:
                self._carry_out(item)
                is_deleted = "deletionTimestamp" in metadata  # only waits for Kubernetes
                begin, pause = now + pause, min(2 * pause, RETRY_SECONDS if is_deleted else LONGEST_SECONDS)
            self._pauses[key] = (begin, pause)

    def _carry_out(self, item: Json) -> None:
        is_deleted = bool(item["metadata"].get("deletionTimestamp"))
        if is_deleted and FINALIZER not in (item["metadata"].get("finalizers") or []):
            return
        try:
            with self._working:
                if is_deleted:
                    self._give_up(item)
                    return
                status = self._import(item)
        except DriverError as error:
            name = item["metadata"]["name"]
            _log.warning("volume import not carried out", import_=name, reason=str(error))
            if _is_passing(error) and not is_deleted and _reason(item) not in ("", "Waiting"):
                return
            status = _with(item, _failed(item, error, is_deleted=is_deleted))
        if _without_times(status) == _without_times(item.get("status") or {}):
            return
        with suppress(ApiError):  # deleted meanwhile
            operation = {"op": "add", "path": "/status", "value": status}
            self._client.patch(f"{self._path(item)}/status", [operation])

    def _import(self, item: Json) -> Json:
        """The status of the object after its import. Raises DriverError."""
        importing, uid, backend = self._importing(), item["metadata"]["uid"], item["spec"]["backend"]
        volume_id = str((item.get("status") or {}).get("volumeId") or "")
        record = importing.requested_by(uid, backend, volume_id)
        if importing.is_ended(uid, volume_id) if record is None else record.status is Status.DELETED:
            message = "its volume was deleted or given up; delete this object, and create it again for another import"
            return _with(item, _ready(item, _DELETED, message))
        if record is None or record.status is Status.IMPORTING:
            record = self._take_over(item, importing)
        if record.status in _UNFINISHED:
            raise OperationPending(f"volume {record.id!r} is {record.status}")
        check_whole(record)  # not if it is in error, for example after a restore of older metadata
        self._make(item, record, importing)
        return {
            "volumeId": record.id,
            "persistentVolume": imported_objects.volume_name(record),
            "sizeGiB": int(record.size),
            "conditions": [
                _ready(item, "Imported", "the volume is imported and has its PersistentVolume", is_ready=True)
            ],
        }

    def _take_over(self, item: Json, importing: Importing) -> Volume:
        spec = item["spec"]
        request = replace(_request(item), origin=replace(_origin(item), living=self._living))
        imported_objects.require_key(request.encryption, _key_secret(spec), "spec.keySecret")
        planned = importing.volume(request, dry_run=True)  # a refused object needs no finalizer
        imported_claims.check_class(self._client, planned, spec.get("storageClassName", ""))
        self._keep(item)
        return importing.volume(request)

    def _make(self, item: Json, record: Volume, importing: Importing) -> None:
        """Make the PersistentVolume, unless it exists."""
        spec = item["spec"]
        if imported_claims.has_holder(self._client, record, self._driver_name):
            return
        use = Use(
            driver=self._driver_name,
            claim=_claim(spec),
            storage_class=spec.get("storageClassName", ""),
            access_modes=spec.get("accessModes") or ("ReadWriteOnce",),
            block=spec.get("volumeMode") == "Block",
            fs_type=spec.get("fsType", ""),
            reclaim_policy=spec.get("reclaimPolicy", "Retain"),
            topology=importing.topology(record.backend),
            key_secret=_key_secret(spec),
        )
        imported_claims.create(self._client, [imported_objects.persistent_volume(record, use)])

    def _keep(self, item: Json) -> None:
        """Add the finalizer before the import."""
        finalizers = item["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            self._set_finalizers(item, [*finalizers, FINALIZER])

    def _give_up(self, item: Json) -> None:
        """Remove the PersistentVolume, and give the volume up once that is gone. Only the own import is given up.

        Raises:
            InUse: the PersistentVolume still has a claim.
        """
        origin, importing = replace(_origin(item), living=self._living), self._importing()
        with suppress(NotFound):  # never imported
            undone = importing.undo(Volume, origin, only_own=True, dry_run=True)
            driver, ids = self._driver_name, undone.ids
            removed = imported_claims.remove(self._client, ("PersistentVolume",), driver, ids, with_users=False)
            if removed.left:
                raise InUse(f"{', '.join(removed.left)} still exists; delete the claim and what uses it")
            if undone.record is not None:
                importing.undo(Volume, origin, only_own=True)
        rest = [name for name in item["metadata"].get("finalizers") or [] if name != FINALIZER]
        self._set_finalizers(item, rest)

    def _set_finalizers(self, item: Json, finalizers: list[str]) -> None:
        known = {"op": "test", "path": "/metadata/resourceVersion", "value": item["metadata"]["resourceVersion"]}
        change = {"op": "add", "path": "/metadata/finalizers", "value": finalizers}
        self._client.patch(self._path(item), [known, change])

    def _path(self, item: Json) -> str:
        return IMPORT.path(self._namespace, item["metadata"]["name"])


def _first(item: Json, now: float) -> tuple[float, float]:
    """The time of the first attempt, and the pause after it."""
    if item["metadata"].get("deletionTimestamp"):
        return now, LOOK_SECONDS
    return (now + LONGEST_SECONDS if _is_ready(item) else now), RETRY_SECONDS


def _with(item: Json, condition: Json) -> Json:
    """The status of an object with another condition."""
    return {**(item.get("status") or {}), "conditions": [condition]}


def _failed(item: Json, error: DriverError, *, is_deleted: bool) -> Json:
    if is_deleted:
        return _ready(item, "UndoRefused", str(error))
    if _is_passing(error):
        return {**_ready(item, "Waiting", str(error)), "status": "Unknown"}
    return _ready(item, "Refused", str(error))


def _is_passing(error: DriverError) -> bool:
    """Whether a failure says nothing about the import."""
    if isinstance(error, ApiError):
        return error.status in (409, 429) or error.status >= 500
    return isinstance(error, _PASSING)


def _reason(item: Json) -> str:
    """The reason of its condition; "" if it has none."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((str(found.get("reason", "")) for found in conditions if found.get("type") == "Ready"), "")


def _is_ready(item: Json) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(found.get("type") == "Ready" and found.get("status") == "True" for found in conditions)


def _without_times(status: Json) -> Json:
    conditions = status.get("conditions") or []
    shown = [{key: value for key, value in item.items() if key != "lastTransitionTime"} for item in conditions]
    return {**status, "conditions": shown}


def _request(item: Json) -> ImportVolume:
    """Raises InvalidRequest."""
    spec = item["spec"]
    claim = _claim(spec)
    return ImportVolume(
        origin=_origin(item),
        pool=spec.get("pool", ""),
        size=_size(spec["size"]) if spec.get("size") else None,
        round_up=bool(spec.get("roundUp")),
        block=spec.get("volumeMode") == "Block",
        fs_type=spec.get("fsType", ""),
        access_modes=tuple(ACCESS_MODES[mode] for mode in spec.get("accessModes") or ("ReadWriteOnce",)),
        encryption=spec.get("encryption", ""),
        labels={"pvc/namespace": claim.namespace, "pvc/name": claim.name},
    )


def _origin(item: Json) -> Origin:
    spec = item["spec"]
    return Origin(
        backend=spec["backend"],
        name=spec["name"],
        by_id=bool(spec.get("byId")),
        static=bool(spec.get("static")),
        unchecked=bool(spec.get("unchecked")),
        within=spec.get("pool", ""),
        requester=item["metadata"]["uid"],
        holder=f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}",
    )


def _claim(spec: Mapping[str, Any]) -> Name:
    return Name(namespace=spec["claim"]["namespace"], name=spec["claim"]["name"])


def _key_secret(spec: Mapping[str, Any]) -> Name | None:
    found = spec.get("keySecret")
    return Name(namespace=found["namespace"], name=found["name"]) if found else None


def _size(text: str) -> GiB:
    length = imported_objects.bytes_of(text)
    if not length or length % 1024**3:
        raise InvalidRequest("spec.size", f"must be whole GiB, such as 10Gi (got {text!r})")
    return GiB(length // 1024**3)


def _ready(item: Json, reason: str, message: str, *, is_ready: bool = False) -> Json:
    return {
        "type": "Ready",
        "status": str(is_ready),
        "reason": reason,
        "message": message,
        "lastTransitionTime": times.stamp(times.utc_now()),
        "observedGeneration": item["metadata"].get("generation", 1),
    }
