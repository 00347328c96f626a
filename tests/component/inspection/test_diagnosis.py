"""What is concluded from what was seen of a volume: one typical fault each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csi_cinderlib.inspection.diagnosis import Diagnosis, diagnose
from csi_cinderlib.inspection.observed import (
    BackendState,
    Claim,
    ClusterAttachment,
    HostView,
    Mounted,
    Observed,
    PersistentVolume,
)
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RECENT, LONG_AGO = stamp(NOW - timedelta(minutes=2)), stamp(NOW - timedelta(minutes=40))
VOLUME = Volume(
    id="v1", name="pvc-1", backend="array", pool="gold", size=GiB(10), status=Status.AVAILABLE, created_at=LONG_AGO
)
ATTACHMENT = Attachment(
    id="a1",
    volume_id="v1",
    backend="array",
    node_id="worker-1",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    status=Status.AVAILABLE,
    created_at=LONG_AGO,
)
CLAIM = Claim(
    namespace="shop",
    name="data",
    phase="Bound",
    volume_name="pvc-1",
    storage_class="gold",
    size="10Gi",
    pods={"web": "worker-1"},
)
PV = PersistentVolume(name="pvc-1", phase="Bound", driver="csi.cinderlib.io", handle="v1", claim="shop/data")
HOST = HostView(
    name="worker-1",
    stage="staged",
    protocol="iscsi",
    device="/dev/dm-1",
    multipath=True,
    paths={"sda": "running", "sdb": "running"},
    fs_type="ext4",
    mounts=(Mounted(path="/staging", present=True), Mounted(path="/target", present=True)),
)
WELL = Observed(
    asked="shop/data",
    now=NOW,
    claim=CLAIM,
    pv=PV,
    driver_name="csi.cinderlib.io",
    record=VOLUME,
    attachments=(ATTACHMENT,),
    cluster_attachments=(ClusterAttachment(name="va", node="worker-1", attached=True),),
    backend=BackendState(name="array", state="ready", free_gib=100.0),
    registered={"worker-1": True},
    host=HOST,
)
"""A volume in use, with nothing wrong and all of it seen."""


def record(**values: Any) -> dict[str, Any]:
    return {"record": replace(VOLUME, **values)}


def attachment(**values: Any) -> dict[str, Any]:
    return {"attachments": (replace(ATTACHMENT, **values),)}


def host(**values: Any) -> dict[str, Any]:
    return {"host": replace(HOST, **values)}


def pending(*warnings: str, **more: Any) -> dict[str, Any]:
    """A claim without a volume."""
    claim = replace(CLAIM, phase="Pending", volume_name="", warnings=warnings)
    nothing: dict[str, Any] = {"pv": None, "record": None, "attachments": (), "cluster_attachments": (), "host": None}
    return {"claim": claim, **nothing, **more}


FAULTS: list[tuple[str, str, str, dict[str, Any]]] = [
    (
        "backend-down",
        "Back end 'array' is not ready: connection refused.",
        "`csi-cinderlib backends restart array`",
        {"backend": BackendState(name="array", state="not ready", reason="connection refused")},
    ),
    (
        "backend-not-configured",
        "Back end 'array' is no longer configured.",
        "Restore its section",
        {"backend": BackendState(name="array", state="not configured")},
    ),
    (
        "volume-in-error",
        "Volume v1 is in ERROR: licence missing.",
        "`csi-cinderlib orphans fix v1`",
        record(status=Status.ERROR, message="licence missing"),
    ),
    (
        "pool-full",
        "Volume v1 failed because its pool is full: not enough free space",
        "back end 'array' pool 'gold'",
        record(status=Status.ERROR, message="not enough free space"),
    ),
    (
        "pool-full",
        "Back end 'array' has 3 GiB free, but 5 GiB are needed.",
        "Free or add space",
        {
            **record(status=Status.EXTENDING, target_size=GiB(15), message="the array refused"),
            "backend": BackendState(name="array", state="ready", free_gib=3.0),
        },
    ),
    (
        "creating-for-long",
        "Volume v1 has been in status creating for 40m, and the call is no longer repeated.",
        "`csi-cinderlib orphans fix v1`",
        record(status=Status.CREATING),
    ),
    (
        "creating",
        "Volume v1 has been in status creating for 2m.",
        "Wait",
        record(status=Status.CREATING, created_at=RECENT),
    ),
    (
        "name-taken",
        "may already have an object 'volume-v1': volume-v1 exists",
        "`csi-cinderlib orphans forget v1`",
        record(status=Status.ERROR, name_taken="volume-v1 exists"),
    ),
    (
        "delete-unfinished",
        "The deletion of volume v1 was not finished: in use.",
        "still attached to worker-1",
        record(status=Status.DELETING, message="in use"),
    ),
    (
        "delete-unfinished",
        "The deletion of volume v1 was not finished.",
        "Delete its 2 snapshots first.",
        {**record(status=Status.DELETING), "snapshots": 2},
    ),
    (
        "delete-unfinished",
        "The deletion of volume v1 was not finished.",
        "`csi-cinderlib orphans fix v1`",
        {**record(status=Status.DELETING), "attachments": (), "host": replace(HOST, stage="")},
    ),
    (
        "extend-unfinished",
        "Volume v1 is being extended to 20 GiB: busy.",
        "`csi-cinderlib orphans fix v1`",
        record(status=Status.EXTENDING, target_size=GiB(20), message="busy"),
    ),
    (
        "leftover",
        "volume-v1 on back end 'array': its creation did not end",
        "`csi-cinderlib orphans forget v1`",
        {"leftover": "volume-v1 on back end 'array': its creation did not end"},
    ),
    (
        "record-unreadable",
        "The volume's record cannot be read: not valid JSON.",
        "Restore it from an export",
        {"record": None, "record_problem": "not valid JSON"},
    ),
    (
        "record-missing",
        "PersistentVolume pvc-1 refers to volume 'v1', which has no record here.",
        "restore it from an export",
        {"record": None, "host": None, "attachments": ()},
    ),
    (
        "other-driver",
        "PersistentVolume pvc-1 belongs to CSI driver 'ebs.csi.aws.com'",
        "Examine the volume with that driver.",
        {"record": None, "host": None, "attachments": (), "pv": replace(PV, driver="ebs.csi.aws.com")},
    ),
    (
        "no-pool-fits",
        "No pool has room for claim shop/data (10Gi): rpc error: code = ResourceExhausted desc = no pool fits",
        "`csi-cinderlib get backends`",
        pending("rpc error: code = ResourceExhausted desc = no pool fits"),
    ),
    (
        "provisioning-fails",
        "Claim shop/data cannot be provisioned: unknown parameter 'tpye'",
        "Fix the reported cause",
        pending("unknown parameter 'tpye'"),
    ),
    ("claim-pending", "Claim shop/data is pending", "WaitForFirstConsumer", pending()),
    (
        "claim-not-found",
        "Claim shop/data does not exist.",
        "Check the name and the namespace.",
        {**pending(), "claim": Claim(namespace="shop", name="data")},
    ),
    (
        "attached-elsewhere",
        "still attached to node worker-9, but it is needed on worker-1",
        "node.kubernetes.io/out-of-service",
        {**attachment(node_id="worker-9"), "registered": {"worker-9": True}, "host": None},
    ),
    (
        "node-not-registered",
        "Node worker-1 is not registered",
        "Start the driver's node plugin there",
        {"registered": {"worker-1": False}},
    ),
    (
        "attachment-in-error",
        "Attachment a1 to node worker-1 failed: no such initiator.",
        "`csi-cinderlib orphans fix a1`",
        attachment(status=Status.ERROR, message="no such initiator"),
    ),
    (
        "attachment-unfinished",
        "Attachment a1 to node worker-1 has been creating for 40m.",
        "`csi-cinderlib orphans fix a1`",
        attachment(status=Status.CREATING),
    ),
    (
        "attach-fails",
        "Kubernetes cannot attach the volume on node worker-1: timed out",
        "retries automatically",
        {"cluster_attachments": (ClusterAttachment(name="va", node="worker-1", error="timed out"),)},
    ),
    (
        "stage-without-attachment",
        "Host worker-1 has a stage record (staged) of the volume, but the volume is not attached to this host.",
        "restart the node plugin",
        {"attachments": (), "cluster_attachments": ()},
    ),
    (
        "paths-faulty",
        "1 of 2 paths of /dev/dm-1 failed: sdb offline.",
        "uses the remaining paths",
        host(paths={"sda": "running", "sdb": "offline"}),
    ),
    (
        "paths-faulty",
        "1 of 1 paths of /dev/dm-1 failed: sda transport-offline.",
        "No path is left.",
        host(paths={"sda": "transport-offline"}, problem="no path of /dev/dm-1 works"),
    ),
    (
        "device-faulty",
        "The device on host worker-1 does not work: the device /dev/dm-1 is gone.",
        "delete the pod",
        host(paths={}, problem="the device /dev/dm-1 is gone"),
    ),
    (
        "file-system-needs-repair",
        "The file system needs manual repair: the file system has recorded 3 errors",
        "Stop pod shop/web and follow",
        host(errors="the file system has recorded 3 errors and must be checked by e2fsck"),
    ),
    (
        "file-system-needs-repair",
        "The file system needs manual repair: an error made the file system read-only.",
        "a-file-system-with-errors",
        host(mounts=(Mounted(path="/s", present=True, problem="an error made the file system read-only"),)),
    ),
    (
        "mount-faulty",
        "The mount on host worker-1 does not work: the file system does not respond: Stale file handle.",
        "Restore the share or device",
        host(
            mounts=(Mounted(path="/s", present=True, problem="the file system does not respond: Stale file handle"),),
        ),
    ),
    (
        "not-mounted",
        "The volume is not mounted at /target on host worker-1.",
        "delete the pod",
        host(mounts=(Mounted(path="/staging", present=True), Mounted(path="/target"))),
    ),
]


@pytest.mark.parametrize(("code", "finding", "next_step", "seen"), FAULTS)
def test_a_fault_is_named_with_the_next_step(code: str, finding: str, next_step: str, seen: dict[str, Any]) -> None:
    diagnoses = [item for item in diagnose(replace(WELL, **seen)) if item.code == code]
    assert any(finding in item.finding and next_step in item.next_step for item in diagnoses), diagnoses


@pytest.mark.parametrize(("code", "seen"), [(code, seen) for code, _, _, seen in FAULTS])
def test_one_fault_is_not_reported_as_another(code: str, seen: dict[str, Any]) -> None:
    allowed = {
        "delete-unfinished": {"stage-without-attachment"},
        "record-missing": {"stage-without-attachment"},
        "pool-full": {"extend-unfinished"},
    }
    assert {item.code for item in diagnose(replace(WELL, **seen))} - {code} - allowed.get(code, set()) == set()


def test_a_volume_without_a_fault_is_healthy() -> None:
    assert diagnose(WELL) == (Diagnosis("healthy", "No fault was found.", "No action is needed."),)


def test_what_was_not_seen_is_not_called_healthy() -> None:
    (only,) = diagnose(replace(WELL, unseen={"Kubernetes": "no response", "host": "not a node"}))
    assert (only.code, only.next_step) == ("nothing-found", "Not examined: Kubernetes, host.")


@pytest.mark.parametrize("part", ["store", "attachments"])
def test_a_stage_record_is_not_called_stale_where_attachments_are_not_seen(part: str) -> None:
    seen = replace(WELL, record=None, attachments=(), cluster_attachments=(), unseen={part: "no response"})
    assert "stage-without-attachment" not in {item.code for item in diagnose(seen)}


@pytest.mark.parametrize("part", ["Kubernetes", "VolumeAttachments"])
def test_a_volume_is_not_called_attached_elsewhere_where_the_cluster_is_not_seen(part: str) -> None:
    seen = replace(WELL, **attachment(node_id="worker-9"), registered={}, host=None, unseen={part: "no response"})
    assert [item.code for item in diagnose(seen)] == ["nothing-found"]


def test_a_back_end_that_is_down_comes_first() -> None:
    down = BackendState(name="array", state="not ready", reason="no route")
    found = diagnose(
        replace(WELL, backend=down, **record(status=Status.ERROR, message="x"), **host(problem="gone", paths={}))
    )
    assert [item.code for item in found] == ["backend-down", "volume-in-error", "device-faulty"]


def test_work_under_way_is_no_fault() -> None:
    (only,) = diagnose(replace(WELL, **record(status=Status.CREATING, created_at=RECENT)))
    assert only.waiting
