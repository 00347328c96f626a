"""No status that a user sets makes an object usable that belongs to another program, or whose operation has not ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library, fields
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records
from csi_cinderlib.model.size import GiB

Status = records.Status


@pytest.mark.parametrize("status", [status for status in Status if status not in (Status.AVAILABLE, Status.ERROR)])
@pytest.mark.parametrize("given", ["available", "in-use", "error", None])
def test_only_the_status_of_a_settled_record_can_be_set(status: Status, given: str | None) -> None:
    record = records.Volume(id="v", backend="a", size=GiB(1), status=status, revision="1")
    taken = records.Snapshot(id="s", backend="a", volume_id="v", size=GiB(1), status=status, revision="1")
    with pytest.raises(InvalidRequest, match=f"status: cannot be set while the volume is {status}"):
        fields.set_volume(record, {"status": given})
    with pytest.raises(InvalidRequest, match=f"status: cannot be set while the snapshot is {status}"):
        fields.set_snapshot(taken, {"status": given})


@pytest.mark.parametrize("status", [*records.FOREIGN, Status.IMPORTING, Status.UNMANAGING])
def test_a_volume_of_another_owner_is_neither_made_available_nor_deleted(
    fake: Backend, library: Library, status: Status
) -> None:
    volume = fake.create_volume(1)
    library.store.replace(replace(volume._record, status=status))
    (again,) = fake.volumes
    again._ovo.status = "available"
    with pytest.raises(InvalidRequest, match=f"cannot be set while the volume is {status}"):
        again.save()
    (again,) = fake.volumes
    with pytest.raises(Exception, match=f"is {status}"):
        again.delete()
    assert volume.id in fake.driver.volumes
    assert library.store.get(records.Volume, volume.id).status is status


@pytest.mark.parametrize("status", [*records.FOREIGN, Status.IMPORTING, Status.UNMANAGING])
def test_json_of_a_volume_of_another_owner_makes_no_usable_record(
    fake: Backend, library: Library, status: Status
) -> None:
    volume = fake.create_volume(1)
    snapshot = volume.create_snapshot("taken")
    handle: Any
    for handle in (volume, snapshot):
        stored = library.store.get(type(handle._record), handle.id)
        library.store.replace(replace(stored, status=status))
    volume.refresh()
    (taken,) = volume.snapshots
    text = volume.dumps
    for handle in (taken, volume):
        stored = library.store.get(type(handle._record), handle.id)
        library.store.remove(stored)
    loaded: Any = library.load(text, save=True)
    (of_loaded,) = loaded.snapshots
    for handle in (loaded, of_loaded):
        assert library.store.get(type(handle._record), handle.id).status is Status.ERROR
    with pytest.raises(Exception, match="is error"):
        loaded.extend(2)
    of_loaded.delete()
    loaded.delete()
    assert volume.id in fake.driver.volumes
    assert snapshot.id in fake.driver.snapshots
