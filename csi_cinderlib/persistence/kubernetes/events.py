"""Events on objects, which `kubectl describe` and `kubectl get events` show for an hour."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, Resource
from csi_cinderlib.persistence.kubernetes.rest import Client

Json = dict[str, Any]

LONGEST_NOTE = 1000
"""Limit of the note of an event in characters; Kubernetes allows 1024."""


class Reporter:
    """Creates events in a namespace.

    Args:
        driver_name: reporter of the events.
        instance: the reporting process.
    """

    def __init__(self, client: Client, namespace: str, *, driver_name: str, instance: str) -> None:
        self._client = client
        self._namespace = namespace
        self._driver_name = driver_name
        self._instance = instance

    def tell(self, resource: Resource, found: Json, *, reason: str, note: str, warning: bool, now: datetime) -> None:
        """Create an event on an object. Raises ApiError or StoreUnavailable."""
        metadata = found["metadata"]
        self._client.post(
            f"/apis/events.k8s.io/v1/namespaces/{self._namespace}/events",
            {
                "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}"},
                "eventTime": stamp(now),
                "reportingController": self._driver_name,
                "reportingInstance": self._instance,
                "action": "Observe",
                "reason": reason,
                "regarding": {
                    "apiVersion": API_VERSION,
                    "kind": resource.kind,
                    "namespace": self._namespace,
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "note": note[:LONGEST_NOTE],
                "type": "Warning" if warning else "Normal",
            },
        )
