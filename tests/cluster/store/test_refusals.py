"""When the API server refuses, is away, slow or throttles: a retryable error, and nothing half done. And who may do what."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import ConfigurationError, NotFound, StoreUnavailable
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Node, Provider, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.contract.samples import RECORDS, attachment, snapshot
from csi_cinderlib.persistence.kubernetes import open_for_node, open_store
from csi_cinderlib.persistence.kubernetes.resources import GROUP
from csi_cinderlib.sealing import Sealer
from tests.cluster.bed.apiserver import ApiServer
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster

POLICIES = "/apis/admissionregistration.k8s.io/v1"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
KEY = SealingKey(id="k1", key="pyF05b7aY1J3Hn5XpaT1CD2ADRM1sV0dQ8bq1q2SnYo=")


def volume(**changes: Any) -> Volume:
    return replace(Volume(id=str(uuid.uuid4()), backend="array1", size=GiB(1)), **changes)


@pytest.fixture
def denied(namespace: Namespace) -> Iterator[None]:
    """An admission policy that turns down every change of a volume in this namespace."""
    admin, name = namespace.server.admin, namespace.name
    rule = {"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["volumes"]}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "frozen by the administrator"}],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    binding = {
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    admin.post(f"{POLICIES}/validatingadmissionpolicies", policy)
    admin.post(f"{POLICIES}/validatingadmissionpolicybindings", binding)
    yield
    admin.delete(f"{POLICIES}/validatingadmissionpolicybindings/{name}")
    admin.delete(f"{POLICIES}/validatingadmissionpolicies/{name}")


def test_a_change_that_admission_denies_can_be_retried_and_changed_nothing(namespace: Namespace, denied: None) -> None:
    store = namespace.store(None)
    deadline = time.monotonic() + 120
    while True:  # a policy takes effect some moments after it is made
        stored = store.add(volume())
        try:
            store.replace(replace(stored, status=Status.AVAILABLE))
        except StoreUnavailable as error:
            assert "frozen by the administrator" in str(error)
            break
        assert time.monotonic() < deadline, "the policy never took effect"
        time.sleep(0.2)
    assert store.get(Volume, stored.id) == stored
    with pytest.raises(StoreUnavailable, match="frozen by the administrator"):
        store.add(snapshot("5001", of=stored.id))  # which touches the volume
    assert namespace.objects("snapshots") == []


@pytest.fixture
def throttled(namespace: Namespace) -> Iterator[None]:
    """A flow that gives this namespace's controller no concurrency: more than one request at a time meets 429."""
    admin, name = namespace.server.admin, namespace.name
    limited = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    admin.post(
        f"{FLOWS}/prioritylevelconfigurations",
        {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}},
    )
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": "controller", "namespace": name}}
    anything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    schema = {
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": 2,
        "rules": [{"subjects": [subject], "resourceRules": [anything]}],
    }
    admin.post(f"{FLOWS}/flowschemas", {"metadata": {"name": name}, "spec": schema})
    yield
    admin.delete(f"{FLOWS}/flowschemas/{name}")
    admin.delete(f"{FLOWS}/prioritylevelconfigurations/{name}")


def test_a_throttling_server_is_waited_for_and_what_is_refused_was_not_done(
    namespace: Namespace, throttled: None
) -> None:
    """With no concurrency of its own the flow runs one request at a time and turns the rest away."""
    store = namespace.store(None)
    deadline = time.monotonic() + 120
    tried = 0
    made: set[str] = set()
    refused: set[str] = set()

    def add(record: Volume) -> None:
        try:
            store.add(record)
            made.add(record.id)
        except StoreUnavailable as error:
            assert "429" in str(error)
            refused.add(record.id)

    with ThreadPoolExecutor(16) as pool:
        while store._client.calls == tried:  # as long as no call had to be sent twice
            assert time.monotonic() < deadline, "the flow never took effect"
            list(pool.map(add, [volume() for _ in range(64)]))
            tried += 64
    assert len(made) > len(refused)
    assert {item["metadata"]["name"] for item in namespace.objects("volumes")} == made


def test_a_server_whose_database_hangs_is_said_to_be_unavailable_in_bounded_time(
    namespace: Namespace, api_server: ApiServer
) -> None:
    store = namespace.store(None)
    stored = store.add(volume())
    assert api_server._etcd is not None
    os.kill(api_server._etcd.pid, signal.SIGSTOP)
    while any(" T " not in stat.read_text() for stat in Path(f"/proc/{api_server._etcd.pid}/task").glob("*/stat")):
        time.sleep(0.01)
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.replace(replace(stored, status=Status.AVAILABLE))
        assert time.monotonic() - started < 60
    finally:
        os.kill(api_server._etcd.pid, signal.SIGCONT)
    deadline = time.monotonic() + 120
    while True:  # either the change was made or it was not; the record is whole
        try:
            found = store.get(Volume, stored.id)
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert found in (stored, replace(stored, status=Status.AVAILABLE, revision=found.revision))


def test_no_secret_lies_in_etcd(namespace: Namespace, api_server: ApiServer) -> None:
    canary, shown = f"canary-{uuid.uuid4()}", f"shown-{uuid.uuid4()}"
    store = namespace.store(Sealer([KEY]))
    kept = store.add(volume(provider=Provider(auth=f"CHAP user {canary}"), name=shown))
    store.replace(replace(kept, status=Status.AVAILABLE))
    info = {"driver_volume_type": "iscsi", "data": {"auth_password": canary}}
    store.add(
        Attachment(
            id=str(uuid.uuid4()),
            volume_id=kept.id,
            backend="array1",
            node_id="n1",
            access_mode=AccessMode.SINGLE_NODE_WRITER,
            connection_info=info,
        )
    )
    on_disk = b"".join(path.read_bytes() for path in api_server.etcd_data.rglob("*") if path.is_file())
    assert shown.encode() in on_disk
    assert canary.encode() not in on_disk


def test_a_node_registers_itself_and_reads_no_record_no_secret_and_no_list(namespace: Namespace) -> None:
    record = namespace.store(None).add(volume())
    node = open_for_node({"kubeconfig": str(namespace.kubeconfigs["node"]), "namespace": namespace.name})
    mine = node.add(Node(id="worker-1", connector={"host": "worker-1", "initiator": "iqn.1993-08.org.debian:01:a"}))
    node.replace(replace(mine, topology={"zone": "a"}))
    assert node.get(Node, "worker-1").topology == {"zone": "a"}
    for forbidden in (
        lambda: node.get(Volume, record.id),
        lambda: node.page(Volume),
        lambda: node.page(Node),
        lambda: node.remove(node.get(Node, "worker-1")),
    ):
        with pytest.raises(StoreUnavailable, match="403"):
            forbidden()
    may = ("auth", "can-i", "--namespace", namespace.name, "get")
    for resource in ("secrets", f"volumes.{GROUP}", f"attachments.{GROUP}"):
        with pytest.raises(RuntimeError, match=r"can-i"):
            namespace.server.kubectl(*may, resource, token=namespace.accounts["node"])


def test_the_controller_reads_no_secret_of_the_namespace(namespace: Namespace) -> None:
    with pytest.raises(RuntimeError, match="can-i"):
        namespace.server.kubectl(
            "auth", "can-i", "--namespace", namespace.name, "get", "secrets", token=namespace.accounts["controller"]
        )


def test_each_call_takes_the_requests_that_are_promised(namespace: Namespace) -> None:
    store = namespace.store(None)

    def requests(call: Any) -> int:
        before = store._client.calls
        call()
        return store._client.calls - before

    record = volume()
    unread = [snapshot("5000", of=record.id), attachment("a000", of=record.id)]
    dependents = [snapshot("5001", of=record.id), attachment("a001", of=record.id)]
    others = [new for new in RECORDS if not isinstance(new, Volume | Snapshot | Attachment | Node)]
    assert [requests(lambda new=new: store.add(new)) for new in (record, *others)] == [1] * (1 + len(others))
    assert [requests(lambda new=new: store.add(new)) for new in unread] == [3, 2]
    assert requests(lambda: store.get(Volume, record.id)) == 1
    assert [requests(lambda new=new: store.add(new)) for new in dependents] == [2, 2]
    for new in (record, *others, *dependents):
        kind: Any = type(new)
        stored = store.get(kind, new.id)
        assert requests(lambda kind=kind: store.page(kind, limit=100)) == 1
        assert requests(lambda kind=kind, new=new: store.page(kind, after=new.id, limit=100)) == 1
        assert requests(lambda stored=stored: store.replace(stored)) <= 2
    for new in (*unread, *dependents, *others):
        stored = store.get(type(new), new.id)
        assert requests(lambda stored=stored: store.remove(stored)) == 2
    stored = store.get(Volume, record.id)
    assert requests(lambda: store.remove(stored)) == 4


def test_a_store_without_a_sealing_key_is_refused(namespace: Namespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sealing_keys"):
        open_store({"kubeconfig": str(namespace.kubeconfigs["controller"])}, state_dir=tmp_path)


def test_missing_definitions_are_named_with_what_to_do(tmp_path: Path) -> None:
    server = ApiServer(tmp_path / "bare", durable=False)
    server.start()
    try:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig", server.admin_token)
        with pytest.raises(ConfigurationError, match=r"volumes.*not installed.*csi-cinderlib crds"):
            open_store({"kubeconfig": str(kubeconfig)}, state_dir=tmp_path, sealer=Sealer([KEY]))
    finally:
        server.stop()


def test_an_account_without_rights_is_refused_at_start_by_name(namespace: Namespace, tmp_path: Path) -> None:
    options = {"kubeconfig": str(namespace.kubeconfigs["node"]), "namespace": namespace.name}
    with pytest.raises(ConfigurationError, match=r"forbidden.*:node"):
        open_store(options, state_dir=tmp_path, sealer=Sealer([KEY]))


def test_a_record_deleted_by_hand_is_not_found(namespace: Namespace) -> None:
    store = namespace.store(None)
    record = store.add(volume())
    namespace.server.admin.delete(f"/apis/{GROUP}/v1/namespaces/{namespace.name}/volumes/{record.id}")
    with pytest.raises(NotFound):
        store.replace(record)
