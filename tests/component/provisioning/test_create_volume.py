"""CreateVolume on real stores and the real back end."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    OperationPending,
    OutOfRange,
    PreconditionFailed,
    ResourceExhausted,
)
from csi_cinderlib.model.capability import AccessMode, Capability, Mount
from csi_cinderlib.model.records import Source, SourceKind, Status, Volume, VolumeType
from csi_cinderlib.model.requests import Topology
from csi_cinderlib.model.size import GiB

from .conftest import BLOCK, GIB, GOLD, MOUNT, SHARED, Configure, Held, Site, creation, snapshotting, wait_until


def test_a_volume_is_made_and_available(site: Site, driver: Any) -> None:
    volume = site.create(gib=1500 / 1024)
    assert (volume.status, volume.size, volume.blank, volume.source) == (Status.AVAILABLE, 2, True, None)
    assert volume.backend == "array"
    assert volume.created_at.endswith("Z")
    assert site.store.get(Volume, volume.id) == volume
    assert driver.volumes == {volume.id: 2}


def test_a_new_record_holds_all_that_was_asked_for(site: Site) -> None:
    site.clock = lambda: datetime(2026, 5, 1, 12, tzinfo=UTC)
    request = creation(gib=2, parameters={"type": "gold"}, mutable_parameters={"qos/minIOPS": "10"})
    labels = {"csi.storage.k8s.io/pvc/name": "data"}
    volume = site.volumes.create(replace(request, parameters=replace(request.parameters, labels=labels)))
    assert volume == Volume(
        id=site.ids.volume_id("pvc-1"),
        name="pvc-1",
        backend="array",
        pool="one",
        host=volume.host,
        size=GiB(2),
        status=Status.AVAILABLE,
        type=replace(GOLD, qos_specs={"maxIOPS": "100", "minIOPS": "10"}),
        capabilities=(MOUNT,),
        parameters={"type": "gold"},
        mutable_parameters={"qos/minIOPS": "10"},
        began_empty=True,
        blank=True,
        provider=volume.provider,
        labels=labels,
        created_at="2026-05-01T12:00:00.000000Z",
        revision=volume.revision,
    )


def test_the_same_again_is_the_same_volume_and_no_call_to_the_array(site: Site, driver: Any) -> None:
    first = site.create()
    site.backends.get("array").stop()
    assert site.create() == first, "what exists is answered without its back end"
    assert driver.calls["create_volume"] == 1


@pytest.mark.parametrize("name", ["a", "ü" * 64, "pvc-\N{SNOWMAN}/..\\", "x" * 128])
def test_any_name_makes_one_volume(site: Site, name: str) -> None:
    assert site.create(name).id == site.create(name).id


def test_a_name_is_free_again_after_the_deletion(site: Site, driver: Any) -> None:
    site.volumes.delete(site.create(gib=1).id)
    assert site.create(gib=3).size == 3
    assert len(driver.volumes) == 1


def test_what_differs_is_refused(site: Site) -> None:
    site.create(gib=2)
    with pytest.raises(AlreadyExists, match="size"):
        site.create(gib=3)
    with pytest.raises(AlreadyExists, match="type"):
        site.create(gib=2, parameters={"type": "gold"})


def test_two_callers_with_one_name_get_one_volume(site: Site, driver: Any, held: Held) -> None:
    held.hold()
    answers: list[object] = []

    def call() -> None:
        try:
            answers.append(site.volumes.create(creation()))
        except OperationPending as error:
            answers.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) == 3, "three of four callers were not refused")
    assert all(isinstance(answer, OperationPending) for answer in answers)
    held.let_go()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Volume) for answer in answers) == 1
    assert len(driver.volumes) == 1


def test_a_failed_creation_leaves_nothing(site: Site, driver: Any, configure: Configure) -> None:
    configure(fail=["create_volume"])
    with pytest.raises(BackendError, match="the array says no") as error:
        site.create()
    assert not isinstance(error.value, BackendUnavailable), "nothing is left, so the answer may be final"
    assert site.store.page(Volume, where={}).records == ()
    configure(fail=[])
    assert site.create().status is Status.AVAILABLE
    assert len(driver.volumes) == 1


def test_no_final_answer_while_something_is_left_to_clean_up(site: Site, driver: Any, configure: Configure) -> None:
    configure(fail=["create_volume", "delete_volume"])
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="a retry cleans up"):
            site.create()
    (record,) = site.store.page(Volume, where={}).records
    assert record.status is Status.ERROR
    configure(fail=[])
    assert site.create().status is Status.AVAILABLE
    assert len(driver.volumes) == 1


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR])
def test_a_creation_that_died_is_carried_through(site: Site, driver: Any, status: Status) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=status, owner="gone"))
    again = site.create()
    assert (again.id, again.status, again.owner) == (volume.id, Status.AVAILABLE, "")
    assert driver.calls["delete_volume"] == 1
    assert len(driver.volumes) == 1


def test_a_deletion_that_died_is_finished_before_the_name_is_used_again(site: Site, driver: Any) -> None:
    volume = site.create(gib=1)
    site.store.replace(replace(volume, status=Status.DELETING, owner="gone"))
    assert site.create(gib=2).size == 2
    assert driver.volumes == {volume.id: 2}


def test_a_clone_and_a_restore_name_their_source_and_may_be_larger(site: Site) -> None:
    origin = site.create("origin", gib=2)
    snapshot = site.snapshots.create(snapshotting(origin))
    clone = site.create("clone", gib=3, source=Source(SourceKind.VOLUME, origin.id))
    restored = site.create("restored", gib=0, source=Source(SourceKind.SNAPSHOT, snapshot.id))
    assert (clone.size, clone.source) == (3, Source(SourceKind.VOLUME, origin.id))
    assert restored.size == 2


FS_TYPE = "csi.storage.k8s.io/fstype"


@pytest.mark.parametrize("asked_by", ["the class", "the claim"])
@pytest.mark.parametrize("kind", SourceKind)
def test_a_copy_with_another_file_system_than_its_source_is_refused(
    site: Site, kind: SourceKind, asked_by: str
) -> None:
    origin = site.create("origin", parameters={FS_TYPE: "xfs"})
    site.publish(origin, site.node("n1"))
    id = origin.id if kind is SourceKind.VOLUME else site.snapshots.create(snapshotting(origin)).id
    copy = site.create("copy", source=Source(kind, id))  # none is asked for
    wanted = {"parameters": {FS_TYPE: "ext4"}} if asked_by == "the class" else {"capability": ext4()}
    for source in (Source(kind, id), Source(SourceKind.VOLUME, copy.id)):
        with pytest.raises(InvalidRequest, match=r"'ext4' does not match the source: .* was created for 'xfs'"):
            site.create("other", source=source, **wanted)
    assert {volume.name for volume in site.store.page(Volume).records} == {"origin", "copy"}


def test_a_copy_of_an_empty_copy_may_have_the_file_system_that_the_first_copy_gets(site: Site) -> None:
    origin = site.create("origin", parameters={FS_TYPE: "xfs"})
    copy = site.create("copy", source=Source(SourceKind.VOLUME, origin.id))  # none is asked for, so that it gets ext4
    assert site.create("other", source=Source(SourceKind.VOLUME, copy.id), capability=ext4()).began_empty


def ext4() -> Capability:
    return Capability(Mount("ext4"), AccessMode.SINGLE_NODE_WRITER)


def test_what_a_raw_device_holds_is_not_known_so_that_a_copy_may_be_mounted(site: Site) -> None:
    origin = site.create("origin", capability=BLOCK)
    assert (
        site.create("copy", source=Source(SourceKind.VOLUME, origin.id), capability=ext4()).status is Status.AVAILABLE
    )


def test_a_source_larger_than_the_size_asked_is_out_of_range(site: Site) -> None:
    origin = site.create("origin", gib=2)
    with pytest.raises(OutOfRange):
        site.create("clone", gib=1, source=Source(SourceKind.VOLUME, origin.id))


@pytest.mark.parametrize("kind", list(SourceKind))
def test_a_source_that_does_not_exist_is_not_found(site: Site, kind: SourceKind) -> None:
    with pytest.raises(NotFound, match=kind):
        site.create(source=Source(kind, "nowhere"))


@pytest.mark.parametrize("kind", list(SourceKind))
@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (Status.CREATING, OperationPending, "is creating"),
        (Status.EXTENDING, OperationPending, "is extending"),
        (Status.DELETING, NotFound, "is being deleted"),
        (Status.ERROR, PreconditionFailed, "is error: it broke"),
    ],
)
def test_nothing_is_made_from_a_source_that_is_not_available(
    site: Site, driver: Any, kind: SourceKind, status: Status, error: type[Exception], problem: str
) -> None:
    origin = site.create("origin")
    snapshot = site.snapshots.create(snapshotting(origin))
    site.store.replace(replace(origin, status=status, message="it broke"))
    site.store.replace(replace(snapshot, status=status, message="it broke"))
    source = Source(kind, origin.id if kind is SourceKind.VOLUME else snapshot.id)
    with pytest.raises(error, match=f"{kind} {source.id!r} {problem}"):
        site.create(source=source)
    assert driver.volumes.keys() == {origin.id}


def test_a_volume_goes_where_its_source_is(empty_site: Site) -> None:
    empty_site.add_backend("small", pools=["p1", "p2"], capacity_gb="100")
    empty_site.add_backend("large", capacity_gb="9000")
    origin = empty_site.create("origin", parameters={"backend": "small", "pool": "p2"})
    snapshot = empty_site.snapshots.create(snapshotting(origin))
    for source in (Source(SourceKind.VOLUME, origin.id), Source(SourceKind.SNAPSHOT, snapshot.id)):
        volume = empty_site.create(f"from a {source.kind}", source=source)
        assert (volume.backend, volume.pool) == ("small", "p2")
    with pytest.raises(InvalidRequest, match="source"):
        empty_site.create("else", source=Source(SourceKind.VOLUME, origin.id), parameters={"backend": "large"})


def test_most_free_space_that_fits_is_chosen_among_back_ends_and_pools(empty_site: Site) -> None:
    empty_site.add_backend("small", capacity_gb="10")
    empty_site.add_backend("large", pools=["p1"], capacity_gb="500")
    assert empty_site.create("a").backend == "large"
    assert empty_site.create("b", parameters={"backend": "small"}).backend == "small"
    assert empty_site.create("c", parameters={"pool": "p1"}).host.endswith("large#p1")
    with pytest.raises(ResourceExhausted):
        empty_site.create("d", gib=100000)


def test_topology_decides_and_is_compared_again(empty_site: Site) -> None:
    empty_site.add_backend("east", topology={"zone": "east"}, capacity_gb="1000")
    empty_site.add_backend("west", topology={"zone": "west"}, capacity_gb="10")
    west = Topology(requisite=({"zone": "west"},))
    assert empty_site.create(topology=west).backend == "west"
    assert empty_site.create(topology=west).backend == "west"
    with pytest.raises(AlreadyExists, match="west"):
        empty_site.create(topology=Topology(requisite=({"zone": "east"},)))
    with pytest.raises(ResourceExhausted, match="topology"):
        empty_site.create("other", topology=Topology(requisite=({"zone": "south"},)))


FULL: dict[str, Any] = {"fail": ["create_volume"], "error": "no space left", "exception": "VolumeBackendAPIException"}


@pytest.mark.parametrize("roomy", [0, 1, 2])
def test_full_back_ends_are_passed_over_for_the_next(empty_site: Site, roomy: int) -> None:
    """Each says that it has space, and the first ones say that they have more."""
    drivers = [
        empty_site.add_backend(f"array-{number}", capacity_gb=capacity, **({} if number == roomy else FULL))
        for number, capacity in enumerate(["9000", "500", "10"])
    ]
    assert empty_site.create().backend == f"array-{roomy}"
    assert [driver.calls["create_volume"] for driver in drivers] == [1] * (roomy + 1) + [0] * (2 - roomy)


def test_volumes_spread_over_pools_before_the_driver_reports_again(empty_site: Site) -> None:
    empty_site.add_backend("array", pools=["a", "b"], capacity_gb="50")
    assert {empty_site.create(name, gib=5).pool for name in ("first", "second")} == {"a", "b"}


def test_no_volume_is_left_where_all_back_ends_are_full(empty_site: Site) -> None:
    for capacity in ("9000", "500"):
        empty_site.add_backend(capacity_gb=capacity, **FULL)
    with pytest.raises(ResourceExhausted, match="no space left"):
        empty_site.create()
    assert empty_site.store.page(Volume, where={}).records == ()


def test_a_back_end_that_is_not_ready_may_yet_be_the_right_one(site: Site) -> None:
    site.add_backend("other")
    site.backends.get("other").stop()
    with pytest.raises(BackendUnavailable, match="other"):
        site.create(parameters={"backend": "other"})
    with pytest.raises(BackendUnavailable, match="other"):
        site.create(gib=100000)
    assert site.create().backend == "array"


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"backend": "nowhere"}, "backend"),
        ({"pool": "nowhere"}, "pool"),
        ({"type": "nowhere"}, "type"),
        ({"extraSpecs/disk": "ssd"}, "extraSpecs/disk"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named(site: Site, parameters: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        site.create(parameters=parameters)
    assert error.value.field == f"parameters[{named}]"
    assert site.store.page(Volume, where={}).records == ()


def test_type_extra_specs_and_qos_become_the_volumes_own_type(site: Site) -> None:
    volume = site.create(parameters={"type": "gold", "extraSpecs/vendor:dedup": "on", "qos/minIOPS": "10"})
    assert volume.type == VolumeType(
        name="gold",
        extra_specs={"vendor:tier": "1", "vendor:dedup": "on"},
        qos_specs={"maxIOPS": "100", "minIOPS": "10"},
    )


def test_a_volume_for_several_nodes_is_told_to_the_driver(site: Site) -> None:
    volume = site.create(capability=SHARED)
    assert volume.multiattach
    assert volume.type == VolumeType(extra_specs={"multiattach": "<is> True"})


def test_a_volume_for_several_nodes_is_refused_where_that_cannot_be(empty_site: Site) -> None:
    empty_site.add_backend(multiattach=False)
    with pytest.raises(InvalidRequest, match="several nodes"):
        empty_site.create(capability=SHARED)


def test_a_file_system_for_several_writers_is_refused(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="raw block"):
        site.create(capability=Capability(Mount(), AccessMode.MULTI_NODE_MULTI_WRITER))


def test_a_source_is_not_deleted_while_it_is_read(site: Site, driver: Any, held: Held) -> None:
    origin = site.create("origin")
    snapshot = site.snapshots.create(snapshotting(origin))
    held.hold()
    clones = [
        threading.Thread(target=site.create, args=(f"clone-{number}",), kwargs={"source": source})
        for number, source in enumerate((Source(SourceKind.SNAPSHOT, snapshot.id),) * 2)
    ]
    for thread in clones:
        thread.start()
    held.wait_for()
    with pytest.raises(OperationPending):
        site.snapshots.delete(snapshot.id)
    held.let_go()
    for thread in clones:
        thread.join()
    assert len(driver.volumes) == 3, "neither clone kept the other from being made"
    site.snapshots.delete(snapshot.id)


def test_size_is_never_rounded_down(site: Site) -> None:
    for number, size in enumerate((1, GIB - 1, GIB, GIB + 1, 1500 * 1024**2)):
        volume = site.create(f"v{number}", gib=size / GIB)
        assert volume.size * GIB >= size
