"""Promise 43 over the socket: CreateVolume succeeds with the maximum that GetCapacity answered, on pools of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, Site, creation

POOLED = "tests.support.fakes.pooled.PooledDriver"
THICK = {"extraSpecs/provisioning:type": "thick"}
SIZES = ["10", "9.996", "100.125", "0.999"]


def capacity(site: Site, parameters: Mapping[str, str] | None = None) -> pb.GetCapacityResponse:
    return site.client.controller.GetCapacity(pb.GetCapacityRequest(parameters=parameters or {}), timeout=60)


def have_the_most(site: Site, name: str, parameters: Mapping[str, str] | None = None) -> int:
    """Create what is reported, and see one GiB more refused; the GiB."""
    answer = capacity(site, parameters)
    most = answer.maximum_volume_size.value
    assert most <= answer.available_capacity
    too_large = creation(f"{name}, too large", required=most + GIB, parameters=parameters)
    assert code(failed(site.client.controller.CreateVolume, too_large)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    if most:
        assert site.create(name, required=most, parameters=parameters).capacity_bytes == most
    return most // GIB


@pytest.mark.parametrize("specs", [{}, THICK], ids=["as the pool is", "thick"])
@pytest.mark.parametrize("ratio", ["1", "1.1", "2.75", "20"])
@pytest.mark.parametrize("total", SIZES)
def test_the_maximum_of_a_pool_can_be_had(site: Site, total: str, ratio: str, specs: Mapping[str, str]) -> None:
    """Also beside other volumes, some of them deleted again, and where others use a part."""
    used = "1.25" if float(total) > 2 else "0"
    for reserved in (0, 10, 33):
        name = f"{total}-{ratio}-{reserved}-{len(specs)}"  # Cinder keeps the options of a name
        site.add_nothing(name=name, driver=POOLED, sized_pools=[f"thin:{total}:{used}"], ratio=ratio, reserved=reserved)
        parameters = {"backend": name, **specs}
        if capacity(site, parameters).maximum_volume_size.value >= 4 * GIB:
            first, _second = (
                site.create(f"{size} in {name}", required=size * GIB, parameters={"backend": name}) for size in (1, 2)
            )
            site.delete(first)
        have_the_most(site, f"the most of {name}", parameters)
        assert have_the_most(site, f"what is left of {name}", parameters) == 0


@pytest.mark.parametrize("used", ["0", "3.004", "9.5"])
@pytest.mark.parametrize("total", SIZES)
def test_the_maximum_of_a_thick_pool_can_be_had(site: Site, total: str, used: str) -> None:
    used = used if float(used) < float(total) else "0"
    for reserved in (0, 10, 33):
        name = f"thick-{total}-{used}-{reserved}"
        site.add_nothing(name=name, driver=POOLED, sized_pools=[f"thick:{total}:{used}:thick"], reserved=reserved)
        have_the_most(site, f"the most of {name}", {"backend": name})
        assert have_the_most(site, f"what is left of {name}", {"backend": name}) == 0


def test_of_several_pools_the_one_with_the_most_counts_each_time(site: Site) -> None:
    pools = ["small:4:0", "large:6.999:0", "thick:9:0.5:thick"]
    site.add_nothing(driver=POOLED, sized_pools=pools, ratio="1.5")
    assert [have_the_most(site, f"of {name}", {"pool": name}) for name in ("small", "large")] == [6, 10]
    assert [have_the_most(site, str(number)) for number in range(2)] == [8, 0]


def test_what_the_deletion_of_thin_volumes_frees_is_not_taken_for_space(site: Site) -> None:
    """A thick volume needs what the array has; nobody knows that before its next report."""
    site.add_nothing(name="thin", driver=POOLED, sized_pools=["one:10:8"], ratio="20")
    thin = site.create("thin", required=4 * GIB)
    site.backends.get("thin").stats(refresh=True)
    site.delete(thin)
    assert have_the_most(site, "thick", THICK) == 2


def test_pools_of_files_on_one_file_system_are_not_added_up(site: Site, tmp_path: Path) -> None:
    """CSI asks what one volume may have; so the space that two pools share is answered once."""
    directories = [tmp_path / "a", tmp_path / "b"]
    for directory in directories:
        directory.mkdir()
    site.add_loop_files(directories[:1])
    alone = capacity(site)
    site.add_loop_files(directories)
    both = capacity(site)
    assert both.available_capacity < 1.5 * alone.available_capacity  # the disk is in use
    for name in ("first", "second"):
        have_the_most_of_a_disk_in_use(site, name)


def have_the_most_of_a_disk_in_use(site: Site, name: str) -> None:
    """Create what is reported, unless others have taken some of it since."""
    for _ in range(20):
        most = capacity(site).maximum_volume_size.value
        try:
            assert site.create(name, required=most).capacity_bytes == most
        except grpc.RpcError as error:
            if code(error) is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            return
    raise AssertionError("the disk keeps filling up")
