"""The store on custom resources: the default inside a cluster, with nothing to run but Kubernetes itself.

Conflicts are settled by the API server: a name is created once, and a change names the resourceVersion it builds on. One request
per call, two where a status is mirrored, three for what belongs to a volume. Nothing is watched or cached that must be right.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from csi_cinderlib.errors import (
    AlreadyExists,
    ConfigurationError,
    CorruptRecord,
    InUse,
    InvalidRequest,
    NotFound,
    StaleRecord,
    StoreUnavailable,
)
from csi_cinderlib.model.records import EMPTY, Attachment, Record, Snapshot, Volume
from csi_cinderlib.persistence.api import INDEXED, Page, R, Sealer, Traits, Where
from csi_cinderlib.persistence.codec import decode, encode, keys, kind_name
from csi_cinderlib.persistence.kubernetes.names import label_value, object_name
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, GROUP, LABEL, RESOURCES, VERSION
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

Json = dict[str, Any]
T = TypeVar("T")

MAX_PAGE = 500
_REMEMBERED_PAGES = 1000
_TOUCHED = f"{GROUP}/dependents-changed-by"


class KubernetesStore:
    """See persistence.api.Store. `sealer` is not optional: these objects are read by many."""

    traits = Traits(durable=True, shared=True)

    def __init__(self, client: Client, namespace: str, sealer: Sealer) -> None:
        self._client = client
        self._namespace = namespace
        self._sealer = sealer
        self._continue: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._guard = threading.Lock()

    def check(self) -> None:
        """That the definitions are installed, in our version, and that we may read them.

        Raises:
            ConfigurationError: says what to do.
        """
        advice = "`csi-cinderlib crds | kubectl apply -f -` installs them; the chart brings them too"
        try:
            found = {item["name"] for item in self._client.get(f"/apis/{API_VERSION}").get("resources", ())}
        except ApiError as error:
            if error.status != 404:
                raise ConfigurationError("store", str(error)) from None
            found = set()
        if missing := [item.plural for item in RESOURCES.values() if item.plural not in found]:
            raise ConfigurationError(
                "store", f"the custom resources {', '.join(missing)} ({GROUP}/{VERSION}) are not installed: {advice}"
            )
        for kind in RESOURCES:
            try:
                self.page(kind, limit=1)  # type: ignore[type-var]  # mypy cannot bind R to a union
            except StoreUnavailable as error:
                raise ConfigurationError("store", f"{kind_name(kind)} records cannot be listed: {error}") from None

    def add(self, record: R) -> R:
        owner = self._owner(record)
        body = self._object(record)
        if owner is not None:
            body["metadata"]["ownerReferences"] = [
                {
                    "apiVersion": API_VERSION,
                    "kind": RESOURCES[Volume].kind,
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                }
            ]
        kind = type(record)
        made = self._try(kind, record.id, lambda: self._client.post(self._path(kind), body))
        added = replace(record, revision=made["metadata"]["resourceVersion"])
        if owner is not None:
            self._keep_owner(added, owner)
        return added

    def get(self, kind: type[R], id: str) -> R:
        return self._read(kind, self._try(kind, id, lambda: self._client.get(self._path(kind, id))))

    def replace(self, record: R) -> R:
        kind = type(record)
        operations: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": record.revision},
            {"op": "replace", "path": "/spec", "value": self._spec(record)},
            *_set_labels(self._labels(record)),
        ]
        changed = self._try(kind, record.id, lambda: self._client.patch(self._path(kind, record.id), operations))
        return replace(record, revision=self._mirror(record, changed))

    def remove(self, record: R) -> None:
        kind = type(record)
        if isinstance(record, Volume):
            self._refuse_with_snapshots(record)
        precondition = {"preconditions": {"resourceVersion": record.revision}}
        self._try(kind, record.id, lambda: self._client.delete(self._path(kind, record.id), precondition))
        if isinstance(record, Volume):
            # The garbage collector does the same by the owner references; this does not wait for it.
            selector = f"{LABEL}volume_id={label_value(record.id)}"
            self._try(kind, record.id, lambda: self._client.delete(self._path(Attachment), labelSelector=selector))

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        query = {"limit": str(min(limit, MAX_PAGE))}
        if selector := _selector(kind, where):
            query["labelSelector"] = selector
        found = self._list(kind, query, after)
        records, corrupt = [], []
        for item in found["items"]:
            try:
                records.append(self._read(kind, item))
            except CorruptRecord as error:
                corrupt.append(error.id)
        token = found["metadata"].get("continue", "")
        last = str(found["items"][-1]["spec"].get("id", "")) if found["items"] and token else ""
        if token:
            self._remember(kind, selector, last, token)
        kept = tuple(record for record in records if _matches(record, where))
        return Page(kept, last, tuple(corrupt))

    def close(self) -> None:
        self._client.close()

    # How a record lies in its object.

    def _object(self, record: Record) -> Json:
        return {
            "apiVersion": API_VERSION,
            "kind": RESOURCES[type(record)].kind,
            "metadata": {"name": object_name(type(record), record.id), "labels": self._labels(record)},
            "spec": self._spec(record),
        }

    def _spec(self, record: Record) -> Json:
        spec = encode(record, self._sealer)
        del spec["kind"]  # the object says so
        return spec

    @staticmethod
    def _labels(record: Record) -> dict[str, str]:
        found = keys(record)
        labels = {f"{LABEL}{name}": label_value(found[name]) for name in INDEXED[type(record)]}
        shown: Mapping[str, str] = getattr(record, "labels", EMPTY)
        for key, value in shown.items():
            name = key.rpartition("csi.storage.k8s.io/")[2].replace("/", "-")
            labels.setdefault(f"{LABEL}{name}", label_value(value))
        return labels

    def _read(self, kind: type[R], item: Json) -> R:
        spec = item.get("spec")
        body = {**spec, "kind": kind_name(kind)} if isinstance(spec, dict) else spec
        id = str(spec.get("id", "")) if isinstance(spec, dict) else ""
        if not id or object_name(kind, id) != item["metadata"]["name"]:
            raise CorruptRecord(kind_name(kind), item["metadata"]["name"], f"its spec holds the id {id!r}")
        return decode(kind, body, id=id, revision=item["metadata"]["resourceVersion"], sealer=self._sealer)

    def _path(self, kind: type[Record], id: str = "") -> str:
        return RESOURCES[kind].path(self._namespace, object_name(kind, id) if id else "")

    def _mirror(self, record: Record, changed: Json) -> str:
        """Show phase and message in status. Answers the revision that the record now has.

        Failing is no harm: spec holds the truth, and the next change mirrors again.
        """
        revision: str = changed["metadata"]["resourceVersion"]
        shown = {"phase": str(getattr(record, "status", "")), "message": str(getattr(record, "message", ""))}
        if not RESOURCES[type(record)].mirrored or changed.get("status") == shown:
            return revision
        operations: list[Json] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": revision},
            {"op": "add", "path": "/status", "value": shown},
        ]
        try:
            mirrored = self._client.patch(self._path(type(record), record.id) + "/status", operations)
        except (ApiError, StoreUnavailable):
            return revision
        return str(mirrored["metadata"]["resourceVersion"])

    # What belongs to a volume. Kubernetes has no foreign keys, so the order of requests has to do.

    def _owner(self, record: Record) -> Json | None:
        """The object of the volume that a snapshot or attachment belongs to. Raises NotFound."""
        if not isinstance(record, Snapshot | Attachment):
            return None
        return self._try(Volume, record.volume_id, lambda: self._client.get(self._path(Volume, record.volume_id)))

    def _keep_owner(self, added: R, owner: Json) -> None:
        """See that the volume is still there now that its dependent is.

        A snapshot touches it: a removal under way read an older revision, so it either sees the snapshot or fails as stale.
        """
        path = RESOURCES[Volume].path(self._namespace, owner["metadata"]["name"])
        operations: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": owner["metadata"]["uid"]}]
        if isinstance(added, Snapshot):
            if "annotations" not in owner["metadata"]:
                operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
            touched = {"op": "add", "path": f"/metadata/annotations/{_pointer(_TOUCHED)}", "value": added.id}
            operations.append(touched)
        try:
            if isinstance(added, Snapshot):
                self._client.patch(path, operations)
            else:
                self._client.get(path)
        except ApiError as error:
            self._client.delete(self._path(type(added), added.id))
            if error.status == 404:
                raise NotFound("volume", owner["metadata"]["name"]) from None
            raise StoreUnavailable(str(error)) from None

    def _refuse_with_snapshots(self, volume: Volume) -> None:
        if self.page(Snapshot, limit=1, where={"volume_id": volume.id}).records:
            raise InUse(f"volume {volume.id!r} has snapshots")

    # Pages. Kubernetes goes on by a token of its own; ours go on by id, so that any process can serve the next page.

    def _list(self, kind: type[Record], query: dict[str, str], after: str) -> Json:
        path = self._path(kind)
        if after:
            query["continue"] = self._recall(kind, query.get("labelSelector", ""), after)
        try:
            return self._try(kind, after, lambda: self._client.get(path, **query), expected=(410,))
        except ApiError as error:  # 410: the token outlived the server's history; it comes with a fresh one
            fresh = error.body.get("metadata", {}).get("continue") or _token_after(object_name(kind, after))
            return self._try(kind, after, lambda: self._client.get(path, **{**query, "continue": fresh}))

    def _remember(self, kind: type[Record], selector: str, after: str, token: str) -> None:
        with self._guard:
            self._continue[kind_name(kind), selector, after] = token
            while len(self._continue) > _REMEMBERED_PAGES:
                self._continue.popitem(last=False)

    def _recall(self, kind: type[Record], selector: str, after: str) -> str:
        with self._guard:
            known = self._continue.get((kind_name(kind), selector, after))
        return known or _token_after(object_name(kind, after))

    def _try(self, kind: type[Record], id: str, call: Callable[[], T], *, expected: tuple[int, ...] = ()) -> T:
        """The API's refusals in the words of the store protocol."""
        try:
            return call()
        except ApiError as error:
            if error.status in expected:
                raise
            raise _translate(kind_name(kind), id, error) from None


def _translate(kind: str, id: str, error: ApiError) -> Exception:
    if error.status == 404:
        return NotFound(kind, id)
    if error.reason == "AlreadyExists":
        return AlreadyExists(kind, id)
    if error.status == 409:
        return StaleRecord(kind, id)
    if error.status in (400, 413, 422):
        return InvalidRequest(kind, str(error))
    # 401, 403 and the like: an administrator can mend it meanwhile, and nothing was done, so the caller may retry.
    return StoreUnavailable(str(error))


def _set_labels(labels: Mapping[str, str]) -> list[Json]:
    """Ours alone: what others hang on the object stays."""
    return [{"op": "add", "path": f"/metadata/labels/{_pointer(key)}", "value": labels[key]} for key in labels]


def _pointer(key: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _token_after(name: str) -> str:
    """A continue token for the names after this one, of no particular revision (-1), as the API server makes them itself.

    Only where this process did not serve the page before: after a restart, or with several replicas.
    """
    token = {"v": "meta.k8s.io/v1", "rv": -1, "start": f"{name}\0"}
    return base64.urlsafe_b64encode(json.dumps(token, separators=(",", ":")).encode()).decode().rstrip("=")


def _selector(kind: type[Record], where: Where) -> str:
    """Raises InvalidRequest for a field that is not indexed."""
    terms = []
    for name, wanted in where.items():
        if name not in INDEXED[kind]:
            known = ", ".join(INDEXED[kind]) or "none"
            raise InvalidRequest(f"where.{name}", f"is not an indexed field of {kind_name(kind)}; these are: {known}")
        values = (wanted,) if isinstance(wanted, str) else wanted
        terms.append(f"{LABEL}{name} in ({','.join(label_value(value) for value in values)})")
    return ",".join(terms)


def _matches(record: Record, where: Where) -> bool:
    """Labels may be digests, and could collide or be edited: the record itself decides."""
    return all(
        str(getattr(record, name)) in ((wanted,) if isinstance(wanted, str) else wanted)
        for name, wanted in where.items()
    )
