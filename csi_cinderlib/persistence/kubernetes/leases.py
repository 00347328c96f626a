"""The lease of the active controller as a Kubernetes Lease (coordination.k8s.io/v1): `kubectl get leases`."""

from __future__ import annotations

from typing import Any

from csi_cinderlib.errors import StaleRecord, StoreUnavailable
from csi_cinderlib.model import times
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.persistence.lease import State

NAME = "csi-cinderlib-controller"
"""There is one lease per namespace, because a namespace is one store."""

_API = "coordination.k8s.io/v1"


class KubernetesLease:
    """See `persistence.lease.Record`. The times in the object are for people and are never read."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._path = f"/apis/{_API}/namespaces/{namespace}/leases"
        self._acquired = ("", "")
        """The holder, and when it acquired the lease."""

    def read(self) -> State:
        try:
            return _state(self._client.get(f"{self._path}/{NAME}"))
        except ApiError as error:
            if error.status == 404:
                return State()
            raise StoreUnavailable(str(error)) from None

    def write(self, holder: str, seconds: float, seen: State) -> State:
        spec = self._spec(holder, seconds)
        metadata = {"name": NAME, **({"resourceVersion": seen.revision} if seen.revision else {})}
        try:
            if seen.revision:
                return _state(self._client.merge(f"{self._path}/{NAME}", {"metadata": metadata, "spec": spec}))
            body = {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}
            return _state(self._client.post(self._path, body))
        except ApiError as error:
            if error.status in (404, 409):
                raise StaleRecord("lease", NAME) from None
            raise StoreUnavailable(str(error)) from None

    def _spec(self, holder: str, seconds: float) -> dict[str, Any]:
        now = times.stamp(times.utc_now())
        if holder != self._acquired[0]:
            self._acquired = (holder, now)
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(seconds) or 1,
            "acquireTime": self._acquired[1],
            "renewTime": now,
        }


def _state(found: dict[str, Any]) -> State:
    spec = found.get("spec") or {}
    seconds = float(spec.get("leaseDurationSeconds") or 0)
    return State(str(spec.get("holderIdentity") or ""), seconds, str(found["metadata"]["resourceVersion"]))
