from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import ClassParameters, CreateSnapshot, CreateVolume, Topology
from csi_cinderlib.model.size import Bytes, GiB, SizeRange
from csi_cinderlib.provisioning.comparison import check_same, check_same_snapshot
from csi_cinderlib.provisioning.ranking import reachable

GIB = 1024**3
EXT4 = Capability(Mount(), AccessMode.SINGLE_NODE_WRITER)
XFS = Capability(Mount("xfs"), AccessMode.SINGLE_NODE_WRITER)
BLOCK = Capability(Block(), AccessMode.SINGLE_NODE_WRITER)
SHARED = Capability(Block(), AccessMode.MULTI_NODE_MULTI_WRITER)

VOLUME = Volume(
    id="v",
    name="pvc-1",
    backend="b",
    size=GiB(2),
    status=Status.AVAILABLE,
    capabilities=(EXT4,),
    parameters={"backend": "b", "type": "gold"},
    mutable_parameters={"qos/iops": "100"},
)
REQUEST = CreateVolume(
    name="pvc-1",
    size=SizeRange(Bytes(2 * GIB)),
    capabilities=(EXT4,),
    parameters=ClassParameters(given={"backend": "b", "type": "gold"}),
    mutable_parameters={"qos/iops": "100"},
)


def test_the_same_request_again_is_the_same() -> None:
    check_same(VOLUME, REQUEST, topology={})


@pytest.mark.parametrize(
    "change",
    [
        {"size": SizeRange()},
        {"size": SizeRange(Bytes(1), Bytes(2 * GIB))},
        {"capabilities": (Capability(Mount("ext4"), AccessMode.SINGLE_NODE_MULTI_WRITER),)},
        {"capabilities": (Capability(Mount("ext4", ("noatime",)), AccessMode.SINGLE_NODE_READER_ONLY),)},
        {"parameters": ClassParameters(given=VOLUME.parameters, labels={"csi.storage.k8s.io/pvc/name": "other"})},
        {"topology": Topology(requisite=({"zone": "a"},))},
    ],
)
def test_a_compatible_request_is_the_same(change: dict[str, Any]) -> None:
    check_same(VOLUME, replace(REQUEST, **change), topology={})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size": SizeRange(Bytes(3 * GIB))}, f"its size is 2 GiB, but {3 * GIB} bytes were requested$"),
        (
            {"size": SizeRange(Bytes(1), Bytes(GIB))},
            rf"its size is 2 GiB, but 1 bytes were requested \(at most {GIB}\)$",
        ),
        ({"capabilities": (BLOCK,)}, "raw block"),
        ({"capabilities": (EXT4, XFS)}, "xfs"),
        ({"capabilities": (Capability(Mount(), AccessMode.MULTI_NODE_READER_ONLY),)}, "several nodes"),
        ({"parameters": ClassParameters(given={"backend": "b", "type": "silver"})}, "type"),
        ({"parameters": ClassParameters(given={"backend": "b"})}, "type"),
        ({"mutable_parameters": {"qos/iops": "200"}}, "qos/iops"),
        ({"source": Source(SourceKind.SNAPSHOT, "s")}, "snapshot s"),
    ],
)
def test_a_different_request_is_refused_and_the_difference_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(AlreadyExists, match=named):
        check_same(VOLUME, replace(REQUEST, **change), topology={})


def test_values_of_parameters_are_not_shown() -> None:
    with pytest.raises(AlreadyExists) as error:
        check_same(VOLUME, replace(REQUEST, parameters=ClassParameters(given={"backend": "s3cret"})), topology={})
    assert "s3cret" not in str(error.value)


def test_a_volume_elsewhere_is_not_the_same() -> None:
    request = replace(REQUEST, topology=Topology(requisite=({"zone": "b"},)))
    with pytest.raises(AlreadyExists, match="zone"):
        check_same(VOLUME, request, topology={"zone": "a"})


def test_a_volume_for_several_nodes_serves_one_node_too() -> None:
    shared = replace(VOLUME, capabilities=(SHARED,), multiattach=True)
    check_same(shared, replace(REQUEST, capabilities=(BLOCK, SHARED)), topology={})


def test_a_volume_made_for_no_use_in_particular_serves_any_file_system() -> None:
    check_same(replace(VOLUME, capabilities=()), replace(REQUEST, capabilities=(XFS, BLOCK)), topology={})


@pytest.mark.parametrize(
    ("requirement", "reached"),
    [
        (None, True),
        (Topology(), True),
        (Topology(requisite=({"zone": "a", "rack": "1"},)), True),
        (Topology(requisite=({"zone": "b"}, {"zone": "a"})), True),
        (Topology(preferred=({"zone": "a"},)), True),
        (Topology(requisite=({"zone": "b"},), preferred=({"zone": "a"},)), False),
        (Topology(requisite=({"rack": "1"},)), False),
    ],
)
def test_a_back_end_is_reachable_from_segments_that_hold_its_own(requirement: Topology | None, reached: bool) -> None:
    assert reachable({"zone": "a"}, requirement) is reached


def test_a_snapshot_of_another_volume_is_not_the_same() -> None:
    snapshot = Snapshot(id="s", backend="b", volume_id="v", size=GiB(1))
    check_same_snapshot(snapshot, CreateSnapshot(name="n", volume_id="v", parameters={"any": "thing"}))
    with pytest.raises(AlreadyExists, match="volume v"):
        check_same_snapshot(snapshot, CreateSnapshot(name="n", volume_id="w"))
