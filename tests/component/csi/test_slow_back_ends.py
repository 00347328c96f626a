"""Promise 36: a back end that is slow, or hangs, costs its own volumes only. What keeps its calls from taking the server's threads is in the
controller's calls to drivers' processes: tests/program/serve/test_driver_processes.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from tests.component.csi.site import Site, creation, publication

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
WORKERS = 32
"""Threads of the server that `site` starts; a controller has 128."""

SECONDS = 60
"""How long a call may take that no back end holds up. One that is held up is so until the test ends."""

pytestmark = pytest.mark.parametrize("site", ["memory"], indirect=True)

Flood = Callable[[str], Any]


@pytest.fixture
def flood(site: Site) -> Iterator[Flood]:
    """More claims than the server has threads, on a back end that is named so and hangs until the test ends."""
    drivers: list[Any] = []
    with ThreadPoolExecutor(2 * WORKERS) as callers:

        def start(name: str) -> Any:
            driver = site.add_nothing(name=name, driver=ARRAY, faults=["create_volume=hang"])
            drivers.append(driver)
            requests = [creation(f"pvc-{number}", parameters={"backend": name}) for number in range(2 * WORKERS)]
            for request in requests:
                callers.submit(site.client.controller.CreateVolume, request, timeout=4 * SECONDS)
            assert driver.plan.hanging.wait(SECONDS)
            wait_until_full(driver)
            return driver

        yield start
        for driver in drivers:
            driver.plan.released.set()


def wait_until_full(driver: Any) -> None:
    """Until no further call arrives at the driver."""
    arrived = -1
    while arrived != (arrived := driver.calls["create_volume"]):
        time.sleep(0.2)


def test_a_volume_is_attached_and_deleted_beside_claims_that_hang(site: Site, flood: Flood) -> None:
    site.add_nothing(name="quick")
    volume = site.create(parameters={"backend": "quick"})
    flood("slow")
    publish, unpublish = (
        site.client.controller.ControllerPublishVolume,
        site.client.controller.ControllerUnpublishVolume,
    )
    assert publish(publication(volume, "a"), timeout=SECONDS).publish_context
    unpublish(pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id), timeout=SECONDS)
    site.client.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume.volume_id), timeout=SECONDS)


def test_the_health_of_the_process_does_not_wait_for_a_back_end_that_hangs(site: Site, flood: Flood) -> None:
    flood("slow")
    assert site.client.identity.Probe(pb.ProbeRequest(), timeout=60).ready.value
