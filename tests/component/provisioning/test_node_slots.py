"""How many volumes ControllerPublishVolume lets one node have."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.contexts import Contexts

from .conftest import MOUNT, Configure, Damaged, Site


@pytest.fixture
def node(site: Site) -> str:
    return site.node("n1")


def attachments(site: Site) -> tuple[Attachment, ...]:
    return site.store.page(Attachment, where={}).records


def test_a_node_may_have_any_number_of_volumes_unless_told_otherwise(site: Site, node: str) -> None:
    common = (site.store, site.backends, site.locks)
    controller = Attachments(
        *common, ids=site.ids, contexts=Contexts(site.sealer, nodes=site.store), registrations=site.registrations
    )
    for name in "abc":
        controller.publish(PublishVolume(volume_id=site.create(name).id, node_id=node, capability=MOUNT))
    assert len(attachments(site)) == 3


def test_a_node_gets_as_many_volumes_as_it_may_have(site: Site, node: str) -> None:
    site.max_per_node = 2
    site.publish(site.create("elsewhere"), site.node("n2"))
    first, second, third = (site.create(name) for name in "abc")
    site.publish(first, node)
    site.publish(second, node)
    with pytest.raises(ResourceExhausted, match="2 volumes"):
        site.publish(third, node)
    site.publish(second, node)
    site.attachments.unpublish(first.id, node)
    site.publish(third, node)


def test_a_limit_above_one_page_of_records_is_kept(site: Site, node: str) -> None:
    site.max_per_node = 101
    volume = site.create("attached")
    for number in range(101):
        site.store.add(
            Attachment(
                id=f"a{number}",
                volume_id=volume.id,
                backend="array",
                node_id=node,
                access_mode=AccessMode.SINGLE_NODE_WRITER,
            )
        )
    with pytest.raises(ResourceExhausted, match="101 volumes"):
        site.publish(site.create(), node)


def test_an_attachment_that_cannot_be_read_takes_a_slot(site: Site, node: str) -> None:
    site.max_per_node = 1
    site.publish(site.create("a"), node)
    (attachment,) = attachments(site)
    site.store = Damaged(site.store, attachment.id)
    with pytest.raises(ResourceExhausted, match="1 volumes"):
        site.publish(site.create("b"), node)


def test_of_calls_at_once_no_more_succeed_than_the_node_has_slots(
    site: Site, node: str, configure: Configure, driver: Any
) -> None:
    site.max_per_node = 2
    volumes = [site.create(f"v{number}") for number in range(6)]
    configure(delay=0.05)
    start = threading.Barrier(len(volumes))
    refused = []

    def publish(volume: Volume) -> None:
        start.wait()
        try:
            site.publish(volume, node)
        except ResourceExhausted as error:
            refused.append(error)

    with ThreadPoolExecutor(len(volumes)) as threads:
        list(threads.map(publish, volumes))
    assert len(attachments(site)) == len(driver.mapped) <= 2
    assert len(refused) == len(volumes) - len(driver.mapped)
    configure(delay=0.0)
    while len(driver.mapped) < 2:  # all of them may have made way for the others: each is asked for again
        site.publish(next(volume for volume in volumes if (volume.id, "n1") not in driver.mapped), node)
