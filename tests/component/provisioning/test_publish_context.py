"""What ControllerPublishVolume tells the node (publish_context): its content, its seal and its size."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest

from csi_cinderlib.errors import Unsupported
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.records import Attachment, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.sealing import Sealer
from tests.support.fakes import makers

from .conftest import BLOCK, GIB, MOUNT, Site


@pytest.fixture
def node(site: Site) -> str:
    return site.node("n1")


def attachments(site: Site) -> tuple[Attachment, ...]:
    return site.store.page(Attachment, where={}).records


def test_the_node_learns_how_to_reach_the_volume(site: Site, node: str, driver: Any) -> None:
    site.clock = lambda: datetime(2026, 5, 1, 12, tzinfo=UTC)
    volume = site.create(gib=2, parameters={"mkfsOptions": "-i 65536 -L 'my data'"})
    connection = site.publish(volume, node)
    assert connection == Connection(
        volume_id=volume.id,
        attachment=f"{site.ids.attachment_id(volume.id, node)}@2026-05-01T12:00:00.000000Z",
        protocol="nothing",
        data=connection.data,
        size=Bytes(2 * GIB),
        formatting=Formatting.NEVER_FORMATTED,
        fs_type="ext4",
        mkfs_options=("-i", "65536", "-L", "my data"),
    )
    assert connection.data["device_path"] == f"/nowhere/{volume.id}"
    assert driver.mapped == {(volume.id, "n1")}


def test_each_attachment_has_a_name_of_its_own_and_keeps_it(site: Site, node: str) -> None:
    volume = site.create()
    first = site.publish(volume, node)
    assert site.publish(volume, node).attachment == first.attachment
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, node).attachment not in {"", first.attachment}


def test_a_raw_block_volume_has_no_file_system_and_no_options_for_one(site: Site, node: str) -> None:
    connection = site.publish(site.create(capability=BLOCK), node, BLOCK)
    assert (connection.fs_type, connection.mkfs_options, connection.formatting) == ("", (), Formatting.FORBIDDEN)


@pytest.mark.parametrize(
    ("described", "protocol"), [({"driver_volume_type": "iSCSI"}, "iscsi"), ({}, "")], ids=["named", "not named"]
)
def test_the_protocol_is_what_the_driver_names_in_lower_case(
    site: Site, node: str, driver: Any, monkeypatch: pytest.MonkeyPatch, described: dict[str, str], protocol: str
) -> None:
    answer = {**described, "data": {"target_lun": 1}}
    monkeypatch.setattr(driver, "initialize_connection", lambda volume, connector: answer)
    connection = site.publish(site.create(), node)
    assert (connection.protocol, connection.data["target_lun"]) == (protocol, 1)


def test_the_file_system_is_the_capabilitys_then_the_classs(site: Site, node: str) -> None:
    volume = site.create(parameters={"csi.storage.k8s.io/fstype": "xfs"})
    assert site.publish(volume, node).fs_type == "xfs"
    btrfs = Capability(Mount("btrfs"), AccessMode.SINGLE_NODE_WRITER)
    assert site.publish(volume, node, btrfs).fs_type == "btrfs"


def test_what_the_node_learns_is_sealed(site: Site, node: str) -> None:
    volume = site.create()
    context = site.attachments.publish(PublishVolume(volume_id=volume.id, node_id=node, capability=MOUNT))
    assert set(context) == {"connection"}
    assert context["connection"].startswith("k:k1:")
    assert "nowhere" not in context["connection"]


class SealsInto(Sealer):
    """Seals everything into a text of a given length."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    def seal(self, secret: bytes) -> str:
        return "x" * self._length


def test_a_context_may_have_4096_bytes_with_its_key(site: Site, node: str) -> None:
    volume = site.create()
    request = PublishVolume(volume_id=volume.id, node_id=node, capability=MOUNT)
    site.sealer = SealsInto(4096 - len("connection"))
    assert site.attachments.publish(request) == {"connection": "x" * 4086}
    site.sealer = SealsInto(4096 - len("connection") + 1)
    with pytest.raises(Unsupported, match=r"publish_context needs 4097 bytes, but CSI allows 4096"):
        site.attachments.publish(request)


def test_a_connection_too_long_for_csi_is_refused_and_undone(
    site: Site, node: str, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = site.create()
    answer = {"driver_volume_type": "iSCSI", "data": {"target_portals": [token_hex(12) for _ in range(300)]}}
    map_volume = driver.initialize_connection

    def initialize(volume: Any, connector: Any) -> dict[str, Any]:
        map_volume(volume, connector)
        return answer

    monkeypatch.setattr(driver, "initialize_connection", initialize)
    with pytest.raises(Unsupported, match="4096"):
        site.publish(volume, node)
    assert (attachments(site), driver.mapped, driver.exports) == ((), set(), set())


def test_a_connection_that_is_too_long_only_now_is_left_to_the_node_that_has_it(
    site: Site, node: str, driver: Any
) -> None:
    """Sealed by another key, say, or described by another version of the driver."""
    volume = site.create()
    site.publish(volume, node)
    site.sealer = SealsInto(5000)
    with pytest.raises(Unsupported, match="publish_context"):
        site.publish(volume, node)
    assert [attachment.status for attachment in attachments(site)] == [Status.AVAILABLE]
    assert driver.mapped == {(volume.id, "n1")}


def test_a_large_fabric_fits_into_what_csi_allows(
    site: Site, node: str, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 initiators that see 32 targets each: a plain publish_context would be more than twice what CSI allows."""
    targets = [f"50014380242b{number:04x}" for number in range(32)]
    data = {
        "target_discovered": True,
        "target_lun": 1,
        "target_wwn": targets,
        "initiator_target_map": {f"10000090fa{number:06x}": targets for number in range(8)},
        "initiator_target_lun_map": {f"10000090fa{n:06x}": [[wwn, 1] for wwn in targets] for n in range(8)},
    }
    answer = {"driver_volume_type": "fibre_channel", "data": data}
    monkeypatch.setattr(driver, "initialize_connection", lambda volume, connector: answer)
    found = site.publish(site.create(), node)
    assert len(found.to_json()) > 2 * 4096
    assert {name: found.data[name] for name in data} == data


def test_a_copy_keeps_the_file_system_that_is_there_unless_one_is_asked_for(site: Site, node: str) -> None:
    origin = site.create("origin", parameters={"csi.storage.k8s.io/fstype": "xfs"})
    site.publish(origin, node)
    copy = site.create("copy", source=Source(SourceKind.VOLUME, origin.id))
    connection = site.publish(copy, node)
    assert (connection.fs_type, connection.formatting) == ("", Formatting.FORBIDDEN)
    site.attachments.unpublish(copy.id, node)
    xfs = Capability(Mount("xfs"), AccessMode.SINGLE_NODE_WRITER)
    assert site.publish(copy, node, xfs).fs_type == "xfs"


def test_a_copy_of_a_volume_that_was_never_used_is_formatted_as_a_new_one(site: Site, node: str) -> None:
    origin = site.create("origin")
    copy = site.create("copy", source=Source(SourceKind.VOLUME, origin.id))
    assert site.publish(copy, node).formatting is Formatting.NEVER_FORMATTED
    site.attachments.unpublish(copy.id, node)
    assert site.publish(copy, node).formatting is Formatting.UNKNOWN


def test_what_was_a_raw_device_is_never_formatted(site: Site, node: str) -> None:
    volume = site.create()
    site.publish(volume, node, BLOCK)
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN


def test_what_was_a_raw_device_to_be_read_only_may_still_be_formatted(site: Site, node: str) -> None:
    volume = site.create()
    site.publish(volume, node, Capability(Block(), AccessMode.SINGLE_NODE_READER_ONLY))
    site.attachments.unpublish(volume.id, node)
    assert site.publish(volume, node).formatting is Formatting.NEVER_FORMATTED


def used_raw(site: Site, volume: Volume) -> None:
    """Another process on the same store attaches the volume as a raw device, and detaches it again."""
    backend = site.backends.get("array")
    raw = replace(makers.attachment(volume, "elsewhere"), backend="array", block=True)
    backend.disconnect(backend.connect(site.store.get(Volume, volume.id), raw))


@pytest.mark.parametrize("before", [False, True], ids=["after the driver call", "before the driver call"])
@pytest.mark.parametrize("repeated", [False, True], ids=["first call", "repeated call"])
def test_a_raw_attachment_during_the_call_forbids_a_file_system(
    site: Site, node: str, before: bool, repeated: bool
) -> None:
    volume = site.create()
    if repeated:
        site.publish(volume, node)
    backend = site.backends.get("array")
    connect = backend.connect

    def meanwhile(given: Volume, attachment: Attachment, **named: Any) -> Attachment:
        backend.connect = connect  # type: ignore[method-assign]
        if before:
            used_raw(site, given)
        made = connect(site.store.get(Volume, volume.id), attachment, **named)
        if not before:
            used_raw(site, given)
        return made

    backend.connect = meanwhile  # type: ignore[method-assign, assignment]
    assert site.publish(volume, node).formatting is Formatting.FORBIDDEN


def test_a_copy_of_an_earlier_version_that_still_has_its_mark_is_formatted(site: Site, node: str) -> None:
    copy = site.create("copy", source=Source(SourceKind.VOLUME, site.create("live").id))
    site.store.replace(replace(site.store.get(Volume, copy.id), began_empty=False))
    assert site.publish(copy, node).formatting is Formatting.NEVER_FORMATTED
