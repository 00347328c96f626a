"""What somebody writes into our objects: the API server refuses the worst of it, and the rest does harm to that record alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.model.records import EMPTY, KeyValue, Status, Volume
from csi_cinderlib.persistence.contract.samples import RECORDS, volume
from csi_cinderlib.persistence.kubernetes.names import id_at, object_name
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, RESOURCES
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from tests.cluster.bed.custom_resources import Namespace
from tests.cluster.store.conftest import KubernetesHarness

pytestmark = pytest.mark.cluster

KEYS = ("a", "b", *(f"{'k' * 100}{number}" for number in range(3)), "z")
"""Short ones can be told from their objects' names. Of long ones, it is the beginning: their names end with a digest."""


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("bad", KEYS)
def test_a_walk_of_free_text_ids_goes_on_behind_a_bad_one(
    persistence_harness: KubernetesHarness, limit: int, bad: str
) -> None:
    store = persistence_harness.open()
    for key in KEYS:
        store.add(KeyValue(id=key, value="x"))
    persistence_harness.rename("key-value", bad, "")
    seen: list[str] = []
    corrupt: list[str] = []
    after = ""
    while True:
        page = store.page(KeyValue, after=after, limit=limit)
        seen += [record.id for record in page.records]
        corrupt += page.corrupt
        if not page.next:
            break
        after = page.next
    assert sorted(seen) == sorted({*KEYS} - {bad})
    (found,) = corrupt
    assert found == id_at(KeyValue, object_name(KeyValue, bad))
    assert found == bad or bad.startswith(found.partition(".")[0])


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_the_api_server_takes_no_spec_without_what_every_record_has(namespace: Namespace, record: Any) -> None:
    resource = RESOURCES[type(record)]
    body = {"apiVersion": API_VERSION, "kind": resource.kind, "metadata": {"name": "by-hand"}, "spec": {}}
    with pytest.raises(ApiError, match=r"spec\.id: Required value") as caught:
        namespace.server.admin.post(resource.path(namespace.name), body)
    assert caught.value.status == 422


def test_a_record_of_a_version_that_knew_fewer_fields_can_be_changed(namespace: Namespace) -> None:
    """A field that comes with a later version must not be required: the API server would refuse each change of older objects."""
    store = namespace.store(None)
    stored = store.add(volume("0001"))
    path, admin = RESOURCES[Volume].path(namespace.name, "0001"), namespace.server.admin
    spec = admin.get(path)["spec"]
    old = {name: spec[name] for name in ("v", "write", "id", "backend", "size", "status")}
    admin.patch(path, [{"op": "replace", "path": "/spec", "value": old}])
    assert store.get(Volume, "0001") == replace(stored, name="")
    admin.patch(path, [{"op": "add", "path": "/metadata/annotations", "value": {"somebody": "else"}}])
    assert store.replace(replace(stored, status=Status.AVAILABLE, metadata=EMPTY)).status is Status.AVAILABLE
