"""The Kubernetes objects of imports: sizes, and which existing objects are those of an import."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.model.records import Imported, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning import imported_objects
from csi_cinderlib.provisioning.imported_objects import Name, Use

RECORD = Volume(
    id="id-1", backend="a", size=GiB(2), status=Status.AVAILABLE, imported=Imported(name="disk.img"), pool="one"
)
USE = Use(driver="csi.example", claim=Name(namespace="apps", name="db"), reclaim_policy="Delete")


@pytest.mark.parametrize(
    ("quantity", "length"),
    [
        ("10Gi", 10 << 30),
        ("1.5Gi", 3 << 29),
        ("1Pi", 1 << 50),
        ("1Ei", 1 << 60),
        ("1e9", 10**9),
        ("1E", 10**18),
        ("12345", 12345),
        (".5Ki", 512),
        ("1Zi", None),
        ("", None),
        ("Gi", None),
        ("1 Gi", None),
        ("-1Gi", None),
        ("1e9999", None),
    ],
)
def test_sizes_are_read_in_every_notation_of_kubernetes(quantity: str, length: int | None) -> None:
    assert imported_objects.bytes_of(quantity) == length


def volume(**changes: Any) -> dict[str, Any]:
    made = imported_objects.persistent_volume(RECORD, USE)
    return {**made, "spec": {**made["spec"], **changes}}


def test_an_existing_object_counts_only_if_it_is_the_wanted_one() -> None:
    wanted = volume()
    bound = volume(
        claimRef={**wanted["spec"]["claimRef"], "uid": "1", "resourceVersion": "2"}, capacity={"storage": "9Gi"}
    )
    assert imported_objects.unlike(bound, wanted) == ""
    deleted = {**wanted, "metadata": {**wanted["metadata"], "deletionTimestamp": "now"}}
    assert "still being deleted" in imported_objects.unlike(deleted, wanted)
    foreign = {**wanted, "metadata": {"name": wanted["metadata"]["name"]}}
    assert imported_objects.unlike(foreign, wanted) == "it was not made by this import"
    for_uid = volume(claimRef={**wanted["spec"]["claimRef"], "uid": "3"})
    assert "it differs in spec.claimRef.uid;" in imported_objects.unlike(bound, for_uid), (
        "it was bound to an earlier claim"
    )
    for field, changed in (
        ("spec.csi.volumeHandle", volume(csi={**wanted["spec"]["csi"], "volumeHandle": "id-2"})),
        ("spec.claimRef.name", volume(claimRef={**wanted["spec"]["claimRef"], "name": "other"})),
    ):
        assert f"it differs in {field}; delete it" in imported_objects.unlike(changed, wanted)
        in_use = {**changed, "status": {"phase": "Bound"}}
        assert imported_objects.unlike(in_use, wanted) == f"it differs in {field}; change the request"


def test_what_an_administrator_may_change_and_what_the_server_leaves_out_is_no_difference() -> None:
    wanted = volume()
    assert wanted["spec"]["storageClassName"] == ""
    left_out = {key: value for key, value in wanted["spec"].items() if key != "storageClassName"}
    for found in (
        {**wanted, "spec": left_out},
        volume(persistentVolumeReclaimPolicy="Retain"),
        volume(nodeAffinity={"required": {}}),
    ):
        assert imported_objects.unlike(found, wanted) == ""
    assert imported_objects.unlike(wanted, {**wanted, "spec": {**wanted["spec"], "storageClassName": "a"}})


def test_objects_are_found_by_driver_and_handle_not_by_their_annotation() -> None:
    mine = volume()
    assert imported_objects.is_holder(mine, "csi.example", ["id-1"])
    assert not imported_objects.is_holder(mine, "other.example", ["id-1"])
    assert not imported_objects.is_holder(mine, "csi.example", ["id-2"])
    by_hand = {**mine, "metadata": {"name": "by-hand"}}
    assert not imported_objects.is_holder(by_hand, "csi.example", ["id-1"])
