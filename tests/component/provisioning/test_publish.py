"""ControllerPublishVolume and ControllerUnpublishVolume."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
)
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Attachment, Node, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.sealing import Sealer

from .conftest import BLOCK, MOUNT, SHARED, Configure, Held, Site

READERS = Capability(Mount(), AccessMode.MULTI_NODE_READER_ONLY)
ONE_WRITER = Capability(Block(), AccessMode.MULTI_NODE_SINGLE_WRITER)


@pytest.fixture
def node(site: Site) -> str:
    return site.node("n1")


@pytest.fixture
def other(site: Site) -> str:
    return site.node("n2")


def attachments(site: Site) -> tuple[Attachment, ...]:
    return site.store.page(Attachment, where={}).records


def test_the_same_again_is_the_same_answer_and_no_call_to_the_array(site: Site, node: str, driver: Any) -> None:
    volume = site.create()
    assert site.publish(volume, node) == site.publish(volume, node)
    assert driver.calls["initialize_connection"] == 1
    assert len(attachments(site)) == 1


def test_read_only_is_by_request_or_by_mode(site: Site, node: str, other: str) -> None:
    assert site.publish(site.create("a"), node, read_only=True).read_only
    shared = site.create("b", capability=READERS)
    assert site.publish(shared, node, READERS).read_only
    assert site.publish(shared, other, READERS).read_only


def test_a_read_only_attachment_is_told_whether_another_node_has_the_volume(site: Site, node: str, other: str) -> None:
    shared = site.create(capability=READERS)
    assert site.publish(shared, node, READERS).alone
    assert site.publish(shared, node, READERS).alone
    assert not site.publish(shared, other, READERS).alone
    assert not site.publish(shared, node, READERS).alone
    site.attachments.unpublish(shared.id, node)
    assert site.publish(shared, other, READERS).alone
    assert not site.publish(site.create("writable"), node).alone


def test_another_way_on_the_same_node_is_refused(site: Site, node: str) -> None:
    volume = site.create()
    site.publish(volume, node)
    with pytest.raises(AlreadyExists, match="read-only"):
        site.publish(volume, node, read_only=True)


def test_a_second_node_is_fenced_off_and_the_first_named(site: Site, node: str, other: str, driver: Any) -> None:
    volume = site.create()
    site.publish(volume, node)
    with pytest.raises(PreconditionFailed, match="'n1'"):
        site.publish(volume, other)
    assert driver.mapped == {(volume.id, "n1")}
    site.attachments.unpublish(volume.id, node)
    site.publish(volume, other)
    assert driver.mapped == {(volume.id, "n2")}


def test_several_nodes_share_a_volume_that_was_made_for_them(site: Site, node: str, other: str, driver: Any) -> None:
    volume = site.create(capability=SHARED)
    for name in (node, other):
        site.publish(volume, name, SHARED)
    assert len(driver.mapped) == 2
    site.attachments.unpublish(volume.id, node)
    assert driver.mapped == {(volume.id, "n2")}
    assert driver.exports == {volume.id}, "the export stays while another node is connected through it"
    site.attachments.unpublish(volume.id, other)
    assert driver.exports == set()


def test_one_writer_among_readers(site: Site, node: str, other: str) -> None:
    volume = site.create(capability=ONE_WRITER)
    site.publish(volume, node, ONE_WRITER)
    with pytest.raises(PreconditionFailed, match="one writer"):
        site.publish(volume, other, ONE_WRITER)
    assert site.publish(volume, other, ONE_WRITER, read_only=True).read_only


def test_only_the_first_node_may_take_an_empty_volume_for_new(site: Site, node: str, other: str) -> None:
    volume = site.create()
    assert site.publish(volume, node).formatting is Formatting.NEVER_FORMATTED
    assert site.publish(volume, node).formatting is Formatting.NEVER_FORMATTED, "the same node, the same answer"
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, other).formatting is Formatting.UNKNOWN


def test_a_reader_does_not_use_up_the_mark(site: Site, node: str, other: str) -> None:
    volume = site.create()
    assert site.publish(volume, node, read_only=True).formatting is Formatting.FORBIDDEN
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, other).formatting is Formatting.NEVER_FORMATTED


def test_what_has_a_source_or_is_raw_is_never_formatted(site: Site, node: str) -> None:
    origin = site.create("origin")
    site.publish(origin, node)
    clone = site.create("clone", source=Source(SourceKind.VOLUME, origin.id))
    assert site.publish(clone, node).formatting is Formatting.FORBIDDEN
    assert site.publish(site.create("raw", capability=BLOCK), node, BLOCK).formatting is Formatting.FORBIDDEN


def test_a_raw_volume_is_never_formatted_although_its_first_attachment_was_never_answered(
    site: Site, node: str
) -> None:
    """The controller died while it attached the volume to the first node, and the second node wrote to it."""
    volume, second = site.create(capability=SHARED), site.node("n-second")
    site.publish(volume, node, SHARED)
    (died,) = site.store.page(Attachment, where={"node_id": node}).records
    site.store.replace(replace(died, status=Status.CREATING, owner="gone"))
    site.publish(volume, second, SHARED)
    for name in (second, node):
        site.attachments.unpublish(volume.id, name)
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN


@pytest.mark.parametrize(("first", "second"), [(BLOCK, MOUNT), (MOUNT, BLOCK)])
def test_what_is_published_raw_is_not_published_with_a_file_system_and_not_the_other_way_round(
    site: Site, node: str, first: Capability, second: Capability
) -> None:
    """Else what was written to the raw device would be formatted: it was never seen by another node."""
    volume = site.create()
    site.publish(volume, node, first)
    with pytest.raises(AlreadyExists, match="block device"):
        site.publish(volume, node, second)
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, node, second).formatting is not Formatting.NEVER_FORMATTED


def test_unknown_volumes_and_nodes_are_named(site: Site, node: str) -> None:
    volume = site.create()
    with pytest.raises(NotFound, match="volume"):
        site.publish(replace(volume, id="nowhere"), node)
    with pytest.raises(NotFound, match="node 'nowhere'"):
        site.publish(volume, "nowhere")
    with pytest.raises(InvalidRequest, match="node_id"):
        site.publish(volume, "cl1.rubbish")


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_a_volume_that_is_not_whole_is_not_published(site: Site, node: str, driver: Any, status: Status) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=status))
    with pytest.raises(PreconditionFailed, match=f"is {status}"):
        site.publish(volume, node)
    assert driver.calls["initialize_connection"] == 0


def test_a_file_system_is_not_published_to_several_writers(site: Site, node: str, driver: Any) -> None:
    volume = site.create(capability=SHARED)
    with pytest.raises(PreconditionFailed, match="raw block"):
        site.publish(volume, node, Capability(Mount(), AccessMode.MULTI_NODE_MULTI_WRITER))
    assert driver.mapped == set()


def test_unpublish_is_fine_whatever_is_gone(site: Site, node: str, driver: Any) -> None:
    volume = site.create()
    site.publish(volume, node)
    site.store.remove(site.store.get(Node, node))
    site.attachments.unpublish(volume.id, "another")
    assert len(driver.mapped) == 1
    for _ in range(2):
        site.attachments.unpublish(volume.id, node)
    assert driver.mapped == set()
    site.attachments.unpublish("nowhere", node)
    site.attachments.unpublish("nowhere", "")


def test_unpublish_without_a_node_means_all_nodes(site: Site, node: str, other: str, driver: Any) -> None:
    volume = site.create(capability=SHARED)
    site.publish(volume, node, SHARED)
    site.publish(volume, other, SHARED)
    site.attachments.unpublish(volume.id, "")
    assert driver.mapped == set()
    assert attachments(site) == ()


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING])
def test_an_attach_or_detach_that_died_is_gone_after_unpublish(
    site: Site, node: str, driver: Any, status: Status
) -> None:
    volume = site.create()
    site.publish(volume, node)
    (attachment,) = attachments(site)
    site.store.replace(replace(attachment, status=status, owner="gone"))
    site.attachments.unpublish(volume.id, node)
    assert (attachments(site), driver.mapped, driver.exports) == ((), set(), set())


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_an_attach_or_detach_that_died_is_carried_through_by_publish(
    site: Site, node: str, driver: Any, status: Status
) -> None:
    volume = site.create()
    site.publish(volume, node)
    (attachment,) = attachments(site)
    site.store.replace(replace(attachment, status=status, owner="gone"))
    site.publish(volume, node)
    (attachment,) = attachments(site)
    assert attachment.status is Status.AVAILABLE
    assert driver.mapped == {(volume.id, "n1")}
    assert driver.calls["terminate_connection"] == (0 if status is Status.CREATING else 1)


def test_an_attach_that_died_is_made_anew_when_the_volume_is_wanted_in_another_way(
    site: Site, node: str, driver: Any
) -> None:
    volume = site.create(capability=ONE_WRITER)
    site.publish(volume, node, MOUNT)
    (attachment,) = attachments(site)
    site.store.replace(replace(attachment, status=Status.CREATING, owner="gone"))
    site.publish(volume, node, ONE_WRITER)
    (attachment,) = attachments(site)
    assert (attachment.block, attachment.access_mode) == (True, AccessMode.MULTI_NODE_SINGLE_WRITER)
    assert driver.mapped == {(volume.id, "n1")}


def test_a_failed_attach_leaves_nothing(site: Site, node: str, driver: Any, configure: Configure) -> None:
    volume = site.create()
    configure(fail=["initialize_connection"])
    with pytest.raises(BackendError):
        site.publish(volume, node)
    assert (attachments(site), driver.mapped, driver.exports) == ((), set(), set())
    configure(fail=[])
    site.publish(volume, node)


def test_a_failed_detach_keeps_the_fence(site: Site, node: str, other: str, configure: Configure) -> None:
    volume = site.create()
    site.publish(volume, node)
    configure(fail=["terminate_connection"])
    with pytest.raises(BackendError):
        site.attachments.unpublish(volume.id, node)
    with pytest.raises(PreconditionFailed, match="'n1'"):
        site.publish(volume, other)
    configure(fail=[])
    site.attachments.unpublish(volume.id, node)
    site.publish(volume, other)


def test_a_slow_clone_does_not_hold_up_the_attach_of_its_source(site: Site, node: str, driver: Any, held: Held) -> None:
    origin = site.create("origin")
    held.hold()
    clone = threading.Thread(
        target=site.create, args=("clone",), kwargs={"source": Source(SourceKind.VOLUME, origin.id)}
    )
    clone.start()
    held.wait_for()
    site.publish(origin, node)
    assert clone.is_alive()
    held.let_go()
    clone.join()


def test_a_call_on_a_volume_that_another_is_at_work_on_is_refused_at_once(
    site: Site, node: str, driver: Any, held: Held
) -> None:
    volume = site.create()
    held.hold()
    first = threading.Thread(target=site.publish, args=(volume, node))
    first.start()
    held.wait_for()
    with pytest.raises(OperationPending):
        site.publish(volume, node)
    with pytest.raises(OperationPending):
        site.volumes.delete(volume.id)
    held.let_go()
    first.join()


def test_a_thousand_attaches_on_a_slow_array_run_at_the_same_time(site: Site, driver: Any, held: Held) -> None:
    """Promise 16: what counts is that they overlap. The array lets none go before 100 are there."""
    site.sealer = Sealer()
    volumes = [
        site.create(f"v{number}") for number in range(1000 if site.store.__class__.__name__ == "MemoryStore" else 200)
    ]
    for number in range(10):
        site.node(f"n{number}")
    held.hold()
    waiting = iter(list(enumerate(volumes)))
    guard = threading.Lock()

    def work() -> None:
        while True:
            with guard:
                number, volume = next(waiting, (0, None))
            if volume is None:
                return
            request = PublishVolume(volume_id=volume.id, node_id=f"n{number % 10}", capability=MOUNT)
            site.attachments.publish(request)

    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    held.wait_for(len(threads))
    held.let_go()
    for thread in threads:
        thread.join()
    assert len(driver.mapped) == len(volumes)


@pytest.mark.parametrize("used", [False, True])
def test_of_two_controllers_that_attach_to_two_nodes_at_once_one_is_refused(
    site: Site,
    node: str,
    other: str,
    driver: Any,
    monkeypatch: pytest.MonkeyPatch,
    used: bool,
) -> None:
    """The other controller acts after this one has looked who has the volume, and before it has written down its own intent."""
    volume = site.create()
    if used:
        site.publish(volume, node)
        site.attachments.unpublish(volume.id, node)
    elsewhere = Site(site.store, site.runtime, sealer=site.sealer)
    far = elsewhere.add_backend("array")
    validated = driver.validate_connector

    def meanwhile(connector: dict[str, Any]) -> None:
        validated(connector)
        elsewhere.publish(volume, other)

    monkeypatch.setattr(driver, "validate_connector", meanwhile)
    with pytest.raises(PreconditionFailed, match="is published on node 'n2'"):
        site.publish(volume, node)
    elsewhere.backends.get("array").stop()
    assert (driver.mapped, far.mapped) == (set(), {(volume.id, "n2")})
    assert [attachment.node_id for attachment in attachments(site)] == ["n2"]


def test_an_attach_that_nobody_was_told_of_does_not_use_up_the_mark(
    site: Site, node: str, other: str, configure: Configure
) -> None:
    volume = site.create()
    configure(fail=["initialize_connection"])
    with pytest.raises(BackendError):
        site.publish(volume, node)
    configure(fail=[])
    assert site.store.get(Volume, volume.id).blank
    assert site.publish(volume, other).formatting is Formatting.NEVER_FORMATTED
