"""What the controller records, refuses and tells the nodes about volumes with the parameter `encryption`."""

from __future__ import annotations

import pytest

from csi_cinderlib.csi import responses
from csi_cinderlib.csi.requests import parameters
from csi_cinderlib.errors import InvalidRequest, PreconditionFailed
from csi_cinderlib.model.capability import AccessMode, Block, Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.encryption import header_of
from csi_cinderlib.model.records import Attachment, Snapshot, Source, SourceKind, Volume
from csi_cinderlib.persistence import codec

from .conftest import BLOCK, MOUNT, SHARED, Site, creation

LUKS = {"encryption": "luks2"}


def encrypted(site: Site, name: str = "pvc-1", capability: Capability = MOUNT) -> Volume:
    return site.volumes.create(creation(name, parameters=LUKS, capability=capability))


def test_the_parameter_is_in_the_record_and_in_the_volume_context(site: Site) -> None:
    volume = encrypted(site)
    assert (volume.parameters, volume.encryption) == (LUKS, "luks2")
    assert site.create("plain").encryption == ""
    assert responses.volume(volume).volume_context["encryption"] == "luks2"
    assert "encryption" not in responses.volume(site.create("plain")).volume_context


@pytest.mark.parametrize("value", ["", "luks", "LUKS2", "true", "aes"])
def test_an_unknown_encryption_is_named(value: str) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"parameters\[encryption\]: unsupported encryption '{value}'; supported: luks2"
    ):
        parameters.storage_class({"encryption": value})
    assert parameters.storage_class(LUKS).given == LUKS


def test_the_node_is_told_by_the_record_and_not_by_the_context(site: Site) -> None:
    volume, plain = encrypted(site), site.create("plain")
    node = site.node("n1")
    assert site.publish(volume, node).encryption == "luks2"
    assert site.publish(plain, node).encryption == ""


@pytest.mark.parametrize("capability", [MOUNT, BLOCK], ids=["mount", "block"])
def test_the_first_node_may_write_the_header_also_of_a_raw_device(site: Site, capability: Capability) -> None:
    volume = encrypted(site, capability=capability)
    told = site.publish(volume, site.node("n1"), capability)
    assert told.formatting is Formatting.NEVER_FORMATTED
    assert site.store.get(Volume, volume.id).raw is False


def test_a_raw_device_in_plain_is_still_never_formatted(site: Site) -> None:
    volume = site.create(capability=BLOCK)
    assert site.publish(volume, site.node("n1"), BLOCK).formatting is Formatting.FORBIDDEN
    assert site.store.get(Volume, volume.id).raw


@pytest.mark.parametrize(("of_source", "of_copy"), [({}, LUKS), (LUKS, {})])
def test_a_copy_has_the_encryption_of_its_source(
    site: Site, of_source: dict[str, str], of_copy: dict[str, str]
) -> None:
    source = site.volumes.create(creation("source", parameters=of_source))
    copy = creation("copy", parameters=of_copy, source=Source(SourceKind.VOLUME, source.id))
    with pytest.raises(
        InvalidRequest, match=rf"parameters\[encryption\]: must be that of the source: volume '{source.id}'"
    ):
        site.volumes.create(copy)
    same = creation("copy", parameters=of_source, source=Source(SourceKind.VOLUME, source.id))
    assert site.volumes.create(same).encryption == source.encryption


def test_the_node_is_told_which_header_is_the_volumes(site: Site) -> None:
    """That of another volume, which a storage may show on a new one, is never opened."""
    source = encrypted(site)
    assert source.header == header_of(source.id)
    copy = site.volumes.create(creation("copy", parameters=LUKS, source=Source(SourceKind.VOLUME, source.id)))
    second = site.volumes.create(creation("second", parameters=LUKS, source=Source(SourceKind.VOLUME, copy.id)))
    node = site.node("n1")
    assert {site.publish(volume, node).header for volume in (source, copy, second)} == {source.header}
    assert encrypted(site, "other").header != source.header
    assert site.create("plain").header == ""


def test_a_snapshot_of_an_encrypted_volume_is_refused_by_an_older_program(site: Site) -> None:
    volume, plain = encrypted(site), site.create("plain")
    for source, version in ((volume, 2), (plain, 1)):
        record = Snapshot(id=f"s-{source.id}", backend=source.backend, volume_id=source.id, size=source.size)
        taken = site.backends.get(source.backend).create_snapshot(record)
        assert taken.encryption == source.encryption
        assert codec.encode(taken)["v"] == version


def test_a_device_that_was_given_out_as_ciphertext_is_never_formatted(site: Site) -> None:
    """Its user may have written anything to it."""
    volume = encrypted(site)
    attachment = Attachment(
        id="a-1",
        volume_id=volume.id,
        backend=volume.backend,
        node_id="of the library",
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        block=True,
        ciphertext=True,
        connector={"host": "of the library"},
    )
    backend = site.backends.get(volume.backend)
    backend.disconnect(backend.connect(volume, attachment))
    assert site.store.get(Volume, volume.id).raw
    assert site.publish(volume, site.node("n1")).formatting is Formatting.FORBIDDEN


@pytest.mark.parametrize("kind", list(SourceKind))
def test_a_copy_inherits_the_encryption_of_its_source(site: Site, kind: SourceKind) -> None:
    """Such as the library, which knows no classes."""
    source = encrypted(site)
    backend = site.backends.get(source.backend)
    origin = source.id
    if kind is SourceKind.SNAPSHOT:
        origin = backend.create_snapshot(
            Snapshot(id="s-1", backend=source.backend, volume_id=source.id, size=source.size)
        ).id
    record = Volume(
        id="v-2",
        backend=source.backend,
        pool=source.pool,
        host=source.host,
        size=source.size,
        source=Source(kind, origin),
    )
    assert backend.create_volume(record).encryption == "luks2"


def test_an_older_program_refuses_the_record_with_the_remedy(site: Site) -> None:
    assert codec.encode(encrypted(site))["v"] == 2
    assert codec.encode(site.create("plain"))["v"] == 1


@pytest.mark.parametrize("mode", [AccessMode.MULTI_NODE_MULTI_WRITER, AccessMode.MULTI_NODE_SINGLE_WRITER])
def test_an_encrypted_volume_is_not_for_writers_on_several_nodes(site: Site, mode: AccessMode) -> None:
    with pytest.raises(InvalidRequest, match=f"unsupported access mode {mode} for an encrypted volume"):
        encrypted(site, capability=Capability(Block(), mode))
    volume = encrypted(site)
    with pytest.raises(PreconditionFailed, match=f"unsupported access mode {mode} for an encrypted volume"):
        site.publish(volume, site.node("n1"), Capability(Block(), mode))
    site.create("in-plain", capability=SHARED)
