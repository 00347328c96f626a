"""What a paused and a drained back end still do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from csi_cinderlib.errors import BackendUnavailable, ResourceExhausted
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.intake import Intake
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import ClassParameters, ExpandVolume, GetCapacity
from csi_cinderlib.model.size import Bytes, SizeRange
from tests.component.provisioning.conftest import GIB, Site, driver_of


def change(site: Site, name: str, **values: bool | tuple[str, ...]) -> Backend:
    """Apply changed settings to a running back end, as a refresh does."""
    (backend,) = [known for known in site.backends.all() if known.name == name]
    backend.apply(replace(backend.settings, **values))  # type: ignore[arg-type]  # fields of the settings
    return backend


@pytest.fixture
def array(empty_site: Site) -> Site:
    empty_site.add_backend("array")
    empty_site.node("n1")
    return empty_site


PROVISIONING: dict[str, Callable[[Site, Volume], object]] = {
    "create": lambda site, _volume: site.create("another"),
    "delete": lambda site, volume: site.volumes.delete(volume.id),
    "expand": lambda site, volume: site.volumes.expand(
        ExpandVolume(volume_id=volume.id, size=SizeRange(Bytes(2 * GIB)))
    ),
    "clone": lambda site, volume: site.create("clone", source=Source(SourceKind.VOLUME, volume.id)),
}


@pytest.mark.parametrize("call", PROVISIONING.values(), ids=PROVISIONING)
def test_a_paused_back_end_provisions_nothing_and_resumes_later(
    array: Site, call: Callable[[Site, Volume], object]
) -> None:
    volume = array.create()
    change(array, "array", paused=True)
    calls = driver_of(array, "array").calls.copy()
    records = list(array.store.page(Volume).records)
    with pytest.raises(BackendUnavailable, match="it is paused"):
        call(array, volume)
    now = driver_of(array, "array").calls
    changing = ("create_volume", "delete_volume", "extend_volume", "create_cloned_volume")
    assert {name: now[name] for name in changing} == {name: calls[name] for name in changing}
    assert list(array.store.page(Volume).records) == records
    change(array, "array", paused=False)
    call(array, volume)


@pytest.mark.parametrize("call", PROVISIONING.values(), ids=PROVISIONING)
def test_a_back_end_is_busy_until_what_began_before_a_pause_has_ended(
    array: Site, call: Callable[[Site, Volume], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = array.create()
    driver, busy = driver_of(array, "array"), list[bool]()
    for name in ("create_volume", "delete_volume", "extend_volume", "create_cloned_volume"):
        monkeypatch.setattr(driver, name, observing(getattr(driver, name), array, busy))
    call(array, volume)
    assert busy == [True]
    assert not array.backends.intake("array").is_busy


def observing(method: Callable[..., object], site: Site, busy: list[bool]) -> Callable[..., object]:
    """The method of a driver, during which the back end is paused."""

    def observed(*arguments: object, **named: object) -> object:
        backend = change(site, "array", paused=True)
        busy.append(backend.intake.is_busy)
        return method(*arguments, **named)

    return observed


def test_a_paused_back_end_attaches_and_detaches(array: Site) -> None:
    volume = array.create()
    change(array, "array", paused=True)
    array.publish(volume, "n1")
    assert array.store.page(Attachment).records
    array.attachments.unpublish(volume.id, "n1")
    assert not array.store.page(Attachment).records


def test_snapshots_of_a_paused_back_end_are_neither_taken_nor_deleted(array: Site) -> None:
    volume = array.create()
    backend = change(array, "array", paused=True)
    record = Snapshot(id="s", volume_id=volume.id, backend="array", size=volume.size)
    for call in (backend.create_snapshot, backend.delete_snapshot, backend.resume_create_snapshot):
        with pytest.raises(BackendUnavailable, match="it is paused"):
            call(record)
    assert not array.store.page(Snapshot).records


def test_a_paused_back_end_neither_reverts_nor_takes_group_snapshots(array: Site) -> None:
    volume = array.create()
    backend = change(array, "array", paused=True)
    snapshot = Snapshot(id="s", volume_id=volume.id, backend="array", size=volume.size)
    group = GroupSnapshot(id="g", backend="array", volume_ids=(volume.id,))
    calls: tuple[Callable[[], object], ...] = (
        lambda: backend.revert_volume(volume, snapshot),
        lambda: backend.create_group_snapshot(group, [snapshot]),
        lambda: backend.resume_create_group_snapshot(group),
        lambda: backend.delete_group_snapshot(group),
    )
    for call in calls:
        with pytest.raises(BackendUnavailable, match="it is paused"):
            call()
    assert array.store.get(Volume, volume.id) == volume
    assert not array.store.page(GroupSnapshot).records


def test_a_drained_back_end_takes_no_new_volume_and_keeps_the_others_going(array: Site) -> None:
    volume = array.create()
    change(array, "array", drained=True)
    for more in ({}, {"source": Source(SourceKind.VOLUME, volume.id)}):
        with pytest.raises(ResourceExhausted, match="no new volumes are accepted by: array"):
            array.create("another", **more)
    array.publish(volume, "n1")
    array.volumes.expand(ExpandVolume(volume_id=volume.id, size=SizeRange(Bytes(2 * GIB))))
    array.attachments.unpublish(volume.id, "n1")
    array.volumes.delete(volume.id)
    assert not array.store.page(Volume).records
    assert array.volumes.capacity(GetCapacity(parameters=ClassParameters())).available == 0


def test_new_volumes_go_past_drained_and_paused_back_ends(array: Site) -> None:
    array.add_backend("other", capacity_gb="100")
    for mode in ("drained", "paused"):
        change(array, "array", **{mode: True})
        assert array.create(mode).backend == "other"
        change(array, "array", **{mode: False})
    assert array.create("later").backend == "array"


def test_a_drained_back_end_finishes_a_creation_that_was_begun_before(array: Site) -> None:
    volume = array.create()
    array.store.replace(replace(volume, status=Status.CREATING, owner=""))
    change(array, "array", drained=True)
    assert array.create().status is Status.AVAILABLE


def test_new_volumes_use_only_the_named_pools(empty_site: Site) -> None:
    empty_site.add_backend("array", pools="small,large")
    change(empty_site, "array", pools=("small",))
    assert {empty_site.create(str(number)).pool for number in range(4)} == {"small"}
    assert change(empty_site, "array", pools=("small", "smal")).remark == "pools: the driver does not report smal"
    assert change(empty_site, "array", pools=()).remark == ""
    assert empty_site.create("large").pool == "large"


def settled(intake: Intake) -> bool:
    return intake.is_settled


def test_an_intake_is_settled_only_after_the_last_accepted_volume_has_its_record() -> None:
    intake = Intake("array")
    with intake.arrival():
        intake.set(paused=False, drained=True)
        assert settled(intake) is False
    assert settled(intake) is True
    intake.set(paused=False, drained=False)
    assert settled(intake) is False
