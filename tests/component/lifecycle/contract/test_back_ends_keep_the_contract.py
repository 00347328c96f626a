"""What every back end must do, whatever the driver and the store: one suite, many beds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists, InUse, NotFound, OutOfRange, Unsupported
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, BLOCK, Place, read, size_gib, write

END = 1024**3 - BLOCK
"""The last block of a volume of one GiB."""


def create(
    place: Place, *, size: int = 1, source: Volume | Snapshot | None = None, multiattach: bool = False
) -> Volume:
    return place.backend.create_volume(makers.volume(BACKEND, size=size, source=source, multiattach=multiattach))


def now(place: Place, volume: Volume) -> Volume:
    return place.store.get(Volume, volume.id)


def connect(place: Place, volume: Volume, node: str = "here") -> Attachment:
    return place.backend.connect(now(place, volume), makers.attachment(volume, node, connector=place.connector(node)))


@contextlib.contextmanager
def attached(place: Place, volume: Volume) -> Iterator[Path]:
    """The volume's device, connected for the moment."""
    made = connect(place, volume)
    try:
        with place.device(made) as device:
            yield device
    finally:
        place.backend.disconnect(place.store.get(Attachment, made.id))


def needs_snapshots(place: Place) -> None:
    """Skip where the driver's snapshots would make the volume useless; they must be refused there, with the volume untouched."""
    if not place.backend.capabilities.snapshots:
        volume = create(place)
        with pytest.raises(Unsupported):
            place.backend.create_snapshot(makers.snapshot(volume))
        put(place, volume, b"as before")
        check(place, volume, b"as before")
        pytest.skip("this driver's snapshots are not for volumes that a kernel attaches")


def put(place: Place, volume: Volume, mark: bytes, *, at: int = 0) -> None:
    if place.has_data:
        with attached(place, volume) as device:
            write(device, mark, at=at)


def check(place: Place, volume: Volume, mark: bytes, *, at: int = 0) -> None:
    if place.has_data:
        with attached(place, volume) as device:
            assert read(device, at=at) == mark
            assert size_gib(device) == volume.size


def test_a_volume_lives_and_leaves_nothing_behind(place: Place) -> None:
    volume = create(place)
    assert (volume.status, volume.size, volume.host.partition("#")[2]) == (Status.AVAILABLE, 1, volume.pool)
    put(place, volume, b"first")
    put(place, volume, b"last", at=END)
    check(place, volume, b"first")
    check(place, volume, b"last", at=END)
    place.backend.delete_volume(now(place, volume))
    assert place.store.page(Volume).records == ()
    assert place.store.page(Attachment).records == ()


def test_a_snapshot_keeps_what_was_there_and_comes_back_as_a_volume_also_a_larger_one(place: Place) -> None:
    needs_snapshots(place)
    volume = create(place)
    put(place, volume, b"before")
    taken = place.backend.create_snapshot(makers.snapshot(now(place, volume)))
    assert taken.status is Status.AVAILABLE
    put(place, volume, b"after")
    same, larger = create(place, source=taken), create(place, source=taken, size=3)
    assert (same.size, larger.size) == (1, 3)
    check(place, same, b"before")
    check(place, larger, b"before")
    check(place, volume, b"after")
    for one in (same, larger):
        place.backend.delete_volume(now(place, one))
    place.backend.delete_snapshot(place.store.get(Snapshot, taken.id))
    place.backend.delete_volume(now(place, volume))
    assert place.store.page(Snapshot).records == ()


def test_a_clone_is_independent_of_its_source_and_may_be_larger(place: Place) -> None:
    source = create(place)
    put(place, source, b"source")
    clone = create(place, source=now(place, source), size=2)
    assert clone.size == 2
    put(place, source, b"changed")
    check(place, clone, b"source")
    place.backend.delete_volume(now(place, source))
    put(place, clone, b"alone")
    check(place, clone, b"alone")
    place.backend.delete_volume(now(place, clone))


def test_a_volume_grows_and_keeps_its_data(place: Place) -> None:
    volume = create(place)
    put(place, volume, b"data", at=END)
    grown = place.backend.extend_volume(now(place, volume), GiB(2))
    assert (grown.status, grown.size, grown.target_size) == (Status.AVAILABLE, 2, None)
    check(place, grown, b"data", at=END)


def test_a_volume_grows_while_it_is_mounted_or_says_that_it_cannot(place: Place) -> None:
    volume = create(place)
    made = connect(place, volume)
    if not place.backend.capabilities.online_extend:
        with pytest.raises(InUse):
            place.backend.extend_volume(now(place, volume), GiB(2))
        assert now(place, volume).status is Status.AVAILABLE
    elif not place.has_data:
        assert place.backend.extend_volume(now(place, volume), GiB(2)).size == 2
    else:
        with place.held(made) as held, place.mounted(held) as file:
            write(file, b"from before")
            assert place.backend.extend_volume(now(place, volume), GiB(2)).size == 2
            held.extend(2)
            assert size_gib(held.path) == 2
            assert read(file) == b"from before"
            write(file, b"from after")
        place.backend.disconnect(place.store.get(Attachment, made.id))
        with attached(place, volume) as device:
            assert size_gib(device) == 2


def test_a_snapshot_can_be_taken_while_the_volume_is_attached_or_is_refused(place: Place) -> None:
    volume = create(place)
    made = connect(place, volume)
    if not place.backend.capabilities.snapshot_attached:
        with pytest.raises((InUse, Unsupported)):
            place.backend.create_snapshot(makers.snapshot(volume))
        return
    if not place.has_data:
        place.backend.create_snapshot(makers.snapshot(volume))
        return
    with place.device(made) as device:
        write(device, b"live")
        taken = place.backend.create_snapshot(makers.snapshot(volume))
        write(device, b"later")
        assert read(device) == b"later"
    place.backend.disconnect(made)
    check(place, create(place, source=taken), b"live")
    check(place, volume, b"later")


def test_two_nodes_share_a_volume_and_the_second_keeps_it_when_the_first_goes(place: Place) -> None:
    if not place.backend.capabilities.multiattach:
        pytest.skip("this back end attaches a volume to one node at a time")
    volume = create(place, multiattach=True)
    one, two = connect(place, volume, "node-1"), connect(place, volume, "node-2")
    assert {attachment.node_id for attachment in place.backend.attachments(volume.id)} == {"node-1", "node-2"}
    place.backend.disconnect(one)
    assert [attachment.node_id for attachment in place.backend.attachments(volume.id)] == ["node-2"]
    if place.has_data:
        with place.device(two) as device:
            write(device, b"still mine")
    place.backend.disconnect(two)
    check(place, volume, b"still mine" if place.has_data else b"")


def test_repeated_calls_are_harmless(place: Place) -> None:
    volume = create(place)
    first = connect(place, volume)
    assert connect(place, volume) == first
    place.backend.disconnect(first)
    place.backend.disconnect(first)
    if place.backend.capabilities.snapshots:
        taken = place.backend.create_snapshot(makers.snapshot(now(place, volume)))
        place.backend.delete_snapshot(taken)
        place.backend.delete_snapshot(taken)
    volume = now(place, volume)
    assert place.backend.extend_volume(volume, GiB(1)) == volume
    place.backend.delete_volume(volume)
    place.backend.delete_volume(volume)


def test_calls_in_the_wrong_order_are_refused_and_change_nothing(place: Place) -> None:
    needs_snapshots(place)
    volume = create(place, size=2)
    with pytest.raises(AlreadyExists):
        place.backend.create_volume(replace(makers.volume(BACKEND, size=2), id=volume.id))
    taken = place.backend.create_snapshot(makers.snapshot(volume))
    if not place.backend.capabilities.independent_snapshots:
        with pytest.raises(InUse):
            place.backend.delete_volume(now(place, volume))
    with pytest.raises(OutOfRange):
        create(place, source=taken, size=1)
    with pytest.raises(NotFound):
        place.backend.create_snapshot(makers.snapshot(makers.volume(BACKEND)))
    place.backend.delete_snapshot(taken)
    made = connect(place, volume)
    with pytest.raises(InUse):
        place.backend.delete_volume(now(place, volume))
    place.backend.disconnect(made)
    assert now(place, volume).status is Status.AVAILABLE
    place.backend.delete_volume(now(place, volume))


def test_a_reverted_volume_has_its_old_content(place: Place) -> None:
    needs_snapshots(place)
    if not place.backend.capabilities.revert:
        pytest.skip("this back end cannot revert")
    volume = create(place)
    put(place, volume, b"good")
    taken = place.backend.create_snapshot(makers.snapshot(now(place, volume)))
    put(place, volume, b"bad")
    try:
        place.backend.revert_volume(now(place, volume), taken)
    except Unsupported:  # LVM's thin volumes: the driver says so only when it is asked
        check(place, volume, b"bad" if place.has_data else b"")
        pytest.skip("this back end cannot revert, and left the volume as it was")
    check(place, volume, b"good" if place.has_data else b"")


def test_extra_specs_and_qos_that_a_driver_does_not_know_do_no_harm(place: Place) -> None:
    kind = VolumeType(name="gold", extra_specs={"nobody:knows": "this"}, qos_specs={"some": "limit"})
    volume = place.backend.create_volume(makers.volume(BACKEND, type=kind))
    assert now(place, volume).type == kind
    connect(place, volume)


def test_front_end_qos_reaches_the_node(place: Place) -> None:
    kind = VolumeType(qos_specs={"total_iops_sec_per_gb": "10"}, qos_consumer="front-end")
    volume = place.backend.create_volume(makers.volume(BACKEND, type=kind, size=2))
    data = connect(place, volume).connection_info["data"]
    assert isinstance(data, dict)
    assert data["qos_specs"] == {"total_iops_sec": 20}


def test_a_report_has_pools_with_names_and_capacities(place: Place) -> None:
    report = place.backend.stats(refresh=True)
    assert report.pools
    assert all(pool.name for pool in report.pools)
    assert report.protocol


def test_after_a_restart_everything_goes_on(place: Place) -> None:
    volume = create(place)
    put(place, volume, b"kept")
    made = connect(place, volume)
    place.restart()
    if place.has_data:
        with place.device(place.store.get(Attachment, made.id)) as device:
            assert read(device) == b"kept"
    place.backend.disconnect(place.store.get(Attachment, made.id))
    place.backend.delete_volume(now(place, volume))
    assert place.store.page(Volume).records == ()


def test_many_volumes_at_once_do_not_get_into_each_others_way(place: Place) -> None:
    failures: list[BaseException] = []

    def live() -> None:
        try:
            for _ in range(3):
                volume = create(place)
                made = connect(place, volume)
                place.backend.disconnect(made)
                place.backend.delete_volume(now(place, volume))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
    assert place.store.page(Volume).records == ()
