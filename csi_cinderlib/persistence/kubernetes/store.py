"""The store on custom resources, which is the default inside a cluster and needs no other service.

The API server resolves conflicts: a name can be created only once, and a change tests its base revision in the same request. A call takes
one request. It takes two if a status is mirrored, for a dependent of a volume (three if the volume was not read before), and for a removal
(four for a volume). There are no watches and no caches of records.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from csi_cinderlib.errors import (
    AlreadyExists,
    ConfigurationError,
    CorruptRecord,
    InvalidRequest,
    NotFound,
    StaleRecord,
    StoreUnavailable,
)
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Attachment, Record, Snapshot, Volume
from csi_cinderlib.model.requests import SIDECARS
from csi_cinderlib.persistence.api import INDEXED, Page, R, Sealer, Traits, Where
from csi_cinderlib.persistence.codec import decode, encode, keys, kind_name
from csi_cinderlib.persistence.kubernetes.names import id_at, label_value, name_at, object_name, place
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, GROUP, LABEL, RESOURCES, VERSION
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.persistence.kubernetes.specs import from_spec, to_spec
from csi_cinderlib.persistence.queries import check_query, has_snapshots, wanted

Json = dict[str, Any]
T = TypeVar("T")

MAX_PAGE = 500
MOST_UIDS = 10_000
_TOUCHED = f"{GROUP}/dependents-changed-by"


class KubernetesStore:
    """See persistence.api.Store."""

    traits = Traits(durable=True, shared=True)

    def __init__(self, client: Client, namespace: str, sealer: Sealer | None) -> None:
        self._client = client
        self._namespace = namespace
        self._sealer = sealer
        self._uids: dict[str, str] = {}
        """Object uids of recently read volumes, by volume id."""

    def check(self) -> None:
        """Check that the definitions are installed in our version, and that all kinds can be listed.

        Raises:
            ConfigurationError: a check failed; the message contains the remedy.
        """
        self.check_definitions()
        for kind in RESOURCES:
            try:
                self.page(kind, limit=1)  # type: ignore[type-var]  # mypy cannot bind R to a union
            except StoreUnavailable as error:
                raise ConfigurationError("store", f"cannot list {kind_name(kind)} records: {error}") from None

    def check_definitions(self) -> None:
        """Check that the definitions are installed in our version.

        Raises:
            ConfigurationError: a check failed; the message contains the remedy.
        """
        advice = "run `csi-cinderlib crds | kubectl apply -f -`, or install the chart"
        try:
            found = {item["name"] for item in self._client.get(f"/apis/{API_VERSION}").get("resources", ())}
        except ApiError as error:
            if error.status != 404:
                raise ConfigurationError("store", str(error)) from None
            found = set()
        if missing := [item.plural for item in RESOURCES.values() if item.plural not in found]:
            state = f"{other}; required: {VERSION}" if (other := self._versions()) else "not installed"
            raise ConfigurationError(
                "store", f"the custom resources {', '.join(missing)} ({GROUP}) are {state}; {advice}"
            )

    def _versions(self) -> str:
        """The installed versions of our definitions; "" if ours is one of them, or if there are none."""
        try:
            found = [item["version"] for item in self._client.get(f"/apis/{GROUP}").get("versions", ())]
        except ApiError:
            return ""
        return "" if VERSION in found else f"installed in version {', '.join(found)}"

    def add(self, record: R) -> R:
        body = self._object(record)
        if isinstance(record, Snapshot | Attachment):
            self._add_to_volume(record, body)
        else:
            self._create(record, body)
        return replace(record, revision=body["spec"]["write"])

    def _create(self, record: Record, body: Json) -> Json:
        return self._try(type(record), record.id, lambda: self._client.post(self._path(type(record)), body))

    def get(self, kind: type[R], id: str) -> R:
        found = self._try(kind, id, lambda: self._client.get(self._path(kind, id)))
        if kind is Volume:
            self._remember(id, found)
        return self._read(kind, found)

    def replace(self, record: R) -> R:
        kind, path, spec = type(record), self._path(type(record), record.id), self._spec(record)
        operations: list[Json] = [
            {"op": "test", "path": "/spec/write", "value": record.revision},
            {"op": "replace", "path": "/spec", "value": spec},
            *_set_labels(self._labels(record)),
        ]
        try:
            changed = self._try(kind, record.id, lambda: self._client.patch(path, operations), expected=(422,))
        except ApiError as error:  # the test failed, or the object is invalid
            self._refuse_stale(record, self._try(kind, record.id, lambda: self._client.get(path)))
            raise _translate(kind_name(kind), record.id, error) from None
        self._mirror(record, changed)
        return replace(record, revision=spec["write"])

    def remove(self, record: R) -> None:
        kind, path = type(record), self._path(type(record), record.id)
        while not self._remove_as_read(record, self._try(kind, record.id, lambda: self._client.get(path))):
            pass  # a new dependent or a mirrored status changed the object: retry
        if isinstance(record, Volume):
            # The garbage collector would do the same by the owner references, but later.
            selector = f"{LABEL}volume_id={label_value(record.id)}"
            self._try(kind, record.id, lambda: self._client.delete(self._path(Attachment), labelSelector=selector))

    def _remove_as_read(self, record: Record, found: Json) -> bool:
        """Remove the object and return True, unless it has changed since `found`."""
        self._refuse_stale(record, found)
        if isinstance(record, Volume):
            self._refuse_with_snapshots(record)
        precondition = {"preconditions": {"resourceVersion": found["metadata"]["resourceVersion"]}}
        kind, path = type(record), self._path(type(record), record.id)
        try:
            self._try(kind, record.id, lambda: self._client.delete(path, precondition))
        except StaleRecord:
            return False
        return True

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        check_query(kind, limit, where)
        query = {"limit": str(min(limit, MAX_PAGE))}
        if selector := _selector(where):
            query["labelSelector"] = selector
        found = self._list(kind, query, after)
        while not found["items"] and (token := found["metadata"].get("continue")):  # allowed, and not the end
            found = self._list(kind, {**query, "continue": token}, "")
        records, corrupt, last = [], [], ""
        for item in found["items"]:
            try:
                records.append(self._read(kind, item))
                last = records[-1].id
            except CorruptRecord as error:
                corrupt.append(error.id)
                last = place(kind, item["metadata"]["name"])  # the id in the object is not trustworthy
        more = found["metadata"].get("continue")
        return Page(
            tuple(record for record in records if _matches(record, where)), last if more else "", tuple(corrupt)
        )

    def close(self) -> None:
        self._client.close()

    # Conversion between records and objects.

    def _object(self, record: Record) -> Json:
        labels = self._labels(record)  # rejects an invalid id
        return {
            "apiVersion": API_VERSION,
            "kind": RESOURCES[type(record)].kind,
            "metadata": {"name": object_name(type(record), record.id), "labels": labels},
            "spec": self._spec(record),
        }

    def _spec(self, record: Record) -> Json:
        spec = encode(record, self._sealer)
        del spec["kind"]  # redundant: the object has a kind
        return to_spec(spec)

    @staticmethod
    def _labels(record: Record) -> dict[str, str]:
        found = keys(record)
        labels = {f"{LABEL}{name}": label_value(found[name]) for name in INDEXED[type(record)]}
        shown: Mapping[str, str] = getattr(record, "labels", EMPTY)
        for key, value in shown.items():
            name = key.rpartition(SIDECARS)[2].replace("/", "-")
            labels.setdefault(f"{LABEL}{name}", label_value(value))
        return labels

    def _read(self, kind: type[R], item: Json) -> R:
        spec = from_spec(item.get("spec"))
        body = {**spec, "kind": kind_name(kind)}
        id = str(spec.get("id", ""))
        if not id or object_name(kind, id) != item["metadata"]["name"]:
            expected = id_at(kind, item["metadata"]["name"])  # what it belongs to is known, for claims and leftovers
            raise CorruptRecord(kind_name(kind), expected, f"its spec contains the id {id!r}")
        return decode(kind, body, id=id, revision=str(item["spec"].get("write", "")), sealer=self._sealer)

    def _path(self, kind: type[Record], id: str = "") -> str:
        return RESOURCES[kind].path(self._namespace, object_name(kind, id) if id else "")

    def _mirror(self, record: Record, changed: Json) -> None:
        """Copy phase and message to status. Errors are ignored: spec is authoritative, and the next change mirrors again."""
        shown = {"phase": str(getattr(record, "status", "")), "message": str(getattr(record, "message", ""))}
        if not RESOURCES[type(record)].mirrored or changed.get("status") == shown:
            return
        operations: list[Json] = [
            {"op": "test", "path": "/spec/write", "value": changed["spec"]["write"]},
            {"op": "add", "path": "/status", "value": shown},
        ]
        with suppress(ApiError, StoreUnavailable):
            self._client.patch(self._path(type(record), record.id) + "/status", operations)

    @staticmethod
    def _refuse_stale(record: Record, found: Json) -> None:
        if found["spec"].get("write") != record.revision:
            raise StaleRecord(kind_name(type(record)), record.id)

    # Dependents of volumes. Kubernetes has no foreign keys, so the order of requests ensures consistency.

    def _add_to_volume(self, record: Snapshot | Attachment, body: Json) -> None:
        """Create the record, then check that its volume exists. Of this call and a removal, the later one notices the other.

        If this process ends in between, the garbage collector removes an orphan by its owner reference. The owner reference needs the
        uid of the volume, which may be cached; a removed or recreated volume has a different uid.
        """
        uid = self._uids.get(record.volume_id, "")
        while True:
            uid = uid or self._look_up(record.volume_id)
            body["metadata"]["ownerReferences"] = [_owner(object_name(Volume, record.volume_id), uid)]
            created = self._create(record, body)
            try:
                if self._belongs(record, uid):
                    return
            except ApiError as error:
                self._withdraw(record, created)
                raise _translate("volume", record.volume_id, error) from None
            self._withdraw(record, created)
            uid = ""

    def _look_up(self, volume_id: str) -> str:
        """Get the uid of the object of a volume. Raises NotFound."""
        self._uids.pop(volume_id, None)
        found = self._try(Volume, volume_id, lambda: self._client.get(self._path(Volume, volume_id)))
        return self._remember(volume_id, found)

    def _remember(self, volume_id: str, found: Json) -> str:
        if len(self._uids) >= MOST_UIDS:
            self._uids.clear()  # costs one request per volume at its next use
        uid: str = found["metadata"]["uid"]
        self._uids[volume_id] = uid
        return uid

    def _belongs(self, added: Snapshot | Attachment, uid: str) -> bool:
        """Whether the volume with this uid still exists after its dependent was created. Raises ApiError.

        A snapshot also changes an annotation of the volume. A concurrent removal then fails because of its resourceVersion precondition,
        reads the volume again and sees the snapshot.
        """
        path = self._path(Volume, added.volume_id)
        touch = {"metadata": {"annotations": {_TOUCHED: added.id}}}
        try:
            found = self._client.merge(path, touch) if isinstance(added, Snapshot) else self._client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return bool(found["metadata"]["uid"] == uid)

    def _withdraw(self, record: Record, created: Json) -> None:
        """Remove the new object, unless it no longer exists. A newer object of the same name is kept."""
        kind, same = type(record), {"preconditions": {"uid": created["metadata"]["uid"]}}
        with suppress(NotFound, StaleRecord):
            self._try(kind, record.id, lambda: self._client.delete(self._path(kind, record.id), same))

    def _refuse_with_snapshots(self, volume: Volume) -> None:
        found = self.page(Snapshot, limit=MAX_PAGE, where={"volume_id": volume.id})
        if count := len(found.records) + len(found.corrupt):
            raise has_snapshots(volume.id, count)

    def _list(self, kind: type[Record], query: dict[str, str], after: str) -> Json:
        """Get a page from the API server, which sorts by name. It continues after an id instead of a server token, in any process."""
        if after:
            query["continue"] = _token_after(name_at(kind, after))
        return self._try(kind, after, lambda: self._client.get(self._path(kind), **query))

    def _try(self, kind: type[Record], id: str, call: Callable[[], T], *, expected: tuple[int, ...] = ()) -> T:
        """Convert API errors to the errors of the store protocol."""
        try:
            return call()
        except ApiError as error:
            if error.status in expected:
                raise
            raise _translate(kind_name(kind), id, error) from None


def _owner(name: str, uid: str) -> Json:
    return {"apiVersion": API_VERSION, "kind": RESOURCES[Volume].kind, "name": name, "uid": uid}


def _translate(kind: str, id: str, error: ApiError) -> Exception:
    if error.status == 404:
        return NotFound(kind, id)
    if error.reason == "AlreadyExists":
        return AlreadyExists(kind, id)
    if error.status == 409:
        return StaleRecord(kind, id)
    if error.status in (400, 413):
        return InvalidRequest(kind, str(error))
    # Missing permission (401, 403) or denied by an admission policy (422): nothing was changed, and an administrator can fix it: retryable.
    return StoreUnavailable(str(error))


def _set_labels(labels: Mapping[str, str]) -> list[Json]:
    """Set only our labels; labels of others are kept."""
    return [{"op": "add", "path": f"/metadata/labels/{_pointer(key)}", "value": labels[key]} for key in labels]


def _pointer(key: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _token_after(name: str) -> str:
    """Return a continue token for the names after this one in the current state (-1: no particular revision).

    The API server creates such tokens when a list outlives its history (k8s.io/apiserver, pkg/storage/continue.go; the format is unchanged
    since Kubernetes 1.8). It works only with etcd behind the API server. A test covers each version that we build.
    """
    token = {"v": "meta.k8s.io/v1", "rv": -1, "start": f"{name}\0"}
    return base64.urlsafe_b64encode(json.dumps(token, separators=(",", ":")).encode()).decode().rstrip("=")


def _selector(where: Where) -> str:
    return ",".join(
        f"{LABEL}{name} in ({','.join(label_value(value) for value in values)})"
        for name, values in wanted(where).items()
    )


def _matches(record: Record, where: Where) -> bool:
    """Check the record itself, because labels can be digests, which may collide, or edited."""
    return all(str(getattr(record, name)) in values for name, values in wanted(where).items())
