from dataclasses import replace

import pytest

from csi_cinderlib.errors import AlreadyExists, PreconditionFailed
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Attachment, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning import fencing

ONE = AccessMode.SINGLE_NODE_WRITER
MANY = AccessMode.MULTI_NODE_MULTI_WRITER
WRITER = AccessMode.MULTI_NODE_SINGLE_WRITER
READERS = AccessMode.MULTI_NODE_READER_ONLY

VOLUME = Volume(id="v", backend="b", size=GiB(1), status=Status.AVAILABLE, began_empty=True)
SHARED = replace(VOLUME, multiattach=True)


def publish(node: str = "n1", mode: AccessMode = ONE, *, read_only: bool = False, block: bool = True) -> PublishVolume:
    return PublishVolume(
        volume_id="v", node_id=node, capability=Capability(Block() if block else Mount(), mode), read_only=read_only
    )


def attached(
    node: str = "n1", mode: AccessMode = ONE, *, read_only: bool = False, status: Status = Status.AVAILABLE
) -> Attachment:
    return Attachment(
        id=node,
        volume_id="v",
        backend="b",
        node_id=node,
        access_mode=mode,
        read_only=read_only,
        block=True,
        status=status,
    )


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_a_volume_that_is_not_whole_is_not_published(status: Status) -> None:
    with pytest.raises(PreconditionFailed, match=status):
        fencing.check_usable(replace(VOLUME, status=status), publish())


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.EXTENDING])
def test_a_volume_that_grows_is_published_as_any_other(status: Status) -> None:
    fencing.check_usable(replace(VOLUME, status=status), publish())


def test_why_a_volume_is_not_whole_is_told() -> None:
    with pytest.raises(PreconditionFailed, match="volume 'v' is error: the array was full"):
        fencing.check_usable(replace(VOLUME, status=Status.ERROR, message="the array was full"), publish())


def test_a_file_system_is_never_published_for_writers_on_several_nodes() -> None:
    with pytest.raises(PreconditionFailed, match="raw block"):
        fencing.check_usable(SHARED, publish(mode=MANY, block=False))


def test_the_same_publish_again_keeps_the_attachment() -> None:
    assert fencing.is_reusable(attached(), publish())
    assert fencing.is_reusable(attached(mode=READERS, read_only=True), publish(mode=READERS))


@pytest.mark.parametrize("request_", [publish(read_only=True), publish(mode=MANY), publish(block=False)])
def test_another_way_on_the_same_node_is_refused(request_: PublishVolume) -> None:
    with pytest.raises(AlreadyExists):
        fencing.is_reusable(attached(), request_)


@pytest.mark.parametrize(
    ("request_", "differs"),
    [
        (publish(mode=MANY), "its access mode is SINGLE_NODE_WRITER, but MULTI_NODE_MULTI_WRITER was requested"),
        (publish(block=False), "it is a block device, but a file system was requested"),
        (publish(read_only=True), "it is writable, but read-only was requested"),
    ],
)
def test_what_differs_is_told(request_: PublishVolume, differs: str) -> None:
    assert fencing.difference(attached(), request_) == differs
    assert fencing.difference(attached(), publish()) == ""
    with pytest.raises(AlreadyExists, match="v on n1.*" + differs):
        fencing.is_reusable(attached(), request_)


def test_a_node_is_named_as_people_know_it_and_by_its_id() -> None:
    named = replace(attached("cl1.x"), connector={"host": "worker-2"})
    with pytest.raises(PreconditionFailed, match=r"on node 'worker-2' \(node_id 'cl1\.x'\): "):
        fencing.check_alone(VOLUME, [named], publish())
    with pytest.raises(PreconditionFailed, match="on node 'n2': "):
        fencing.check_alone(VOLUME, [replace(attached("n2"), connector={"host": "n2"})], publish())


def test_an_attach_that_died_is_finished_when_it_is_the_same_and_undone_when_not() -> None:
    died = attached(status=Status.CREATING)
    assert fencing.is_reusable(died, publish())
    assert not fencing.is_reusable(died, publish(read_only=True))


@pytest.mark.parametrize("status", [Status.DELETING, Status.ERROR])
def test_a_detach_that_died_is_finished_before_the_node_gets_the_volume_again(status: Status) -> None:
    assert not fencing.is_reusable(attached(status=status), publish())


@pytest.mark.parametrize("status", list(Status))
def test_a_volume_for_one_node_is_fenced_and_the_node_named(status: Status) -> None:
    with pytest.raises(PreconditionFailed, match="'n2'"):
        fencing.check_alone(SHARED, [attached("n2", status=status)], publish())


def test_a_node_that_took_the_volume_alone_excludes_others_whatever_they_ask() -> None:
    with pytest.raises(PreconditionFailed, match="'n2'"):
        fencing.check_alone(SHARED, [attached("n2", ONE)], publish(mode=MANY))


def test_several_nodes_share_a_volume_made_for_several() -> None:
    fencing.check_alone(SHARED, [attached("n2", MANY), attached("n3", MANY)], publish(mode=MANY))


def test_a_volume_made_for_one_node_is_not_shared_even_by_readers() -> None:
    with pytest.raises(PreconditionFailed, match="not created for several"):
        fencing.check_alone(VOLUME, [attached("n2", READERS, read_only=True)], publish(mode=READERS))


def test_the_nodes_own_attachment_excludes_nobody() -> None:
    fencing.check_alone(VOLUME, [attached("n1")], publish("n1"))


def test_another_nodes_attachment_counts_beside_the_nodes_own() -> None:
    with pytest.raises(PreconditionFailed, match="'n2'"):
        fencing.check_alone(VOLUME, [attached("n1"), attached("n2")], publish("n1"))
    assert fencing.attachment_on([attached("n2"), attached("n1")], "n1") == attached("n1")
    assert fencing.attachment_on([attached("n2")], "n1") is None


@pytest.mark.parametrize(
    ("other_reads", "reads", "allowed"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_one_writer_among_readers(other_reads: bool, reads: bool, allowed: bool) -> None:
    others, request = [attached("n2", WRITER, read_only=other_reads)], publish(mode=WRITER, read_only=reads)
    if allowed:
        fencing.check_alone(SHARED, others, request)
    else:
        with pytest.raises(PreconditionFailed, match="one writer"):
            fencing.check_alone(SHARED, others, request)


@pytest.mark.parametrize(("theirs", "asked"), [(MANY, WRITER), (WRITER, MANY)])
def test_who_took_or_wants_to_be_the_only_writer_is_it_whatever_the_other_says(
    theirs: AccessMode, asked: AccessMode
) -> None:
    with pytest.raises(PreconditionFailed, match="one writer"):
        fencing.check_alone(SHARED, [attached("n2", theirs)], publish(mode=asked))
    fencing.check_alone(SHARED, [attached("n2", theirs)], publish(mode=asked, read_only=True))
    fencing.check_alone(SHARED, [attached("n2", theirs, read_only=True)], publish(mode=asked))


def test_only_the_first_node_of_an_empty_volume_may_take_it_for_new() -> None:
    request = publish(block=False)
    assert fencing.formatting(VOLUME, replace(attached(), blank=True), request) is Formatting.NEVER_FORMATTED
    assert fencing.formatting(VOLUME, attached(), request) is Formatting.UNKNOWN


def test_a_copy_of_an_empty_volume_is_formatted_by_the_rules_of_a_new_one() -> None:
    copy = replace(VOLUME, source=Source(SourceKind.SNAPSHOT, "s"), began_empty=True)
    marked, request = replace(attached(), blank=True), publish(block=False)
    assert fencing.formatting(copy, marked, request) is Formatting.NEVER_FORMATTED
    assert fencing.formatting(copy, attached(), request) is Formatting.UNKNOWN
    assert fencing.formatting(copy, replace(marked, read_only=True), request) is Formatting.FORBIDDEN
    assert fencing.formatting(replace(copy, raw=True), marked, request) is Formatting.FORBIDDEN


def test_a_volume_without_proof_that_it_began_empty_is_never_formatted() -> None:
    """For example an adopted one, which has no source either."""
    unproven, request = replace(VOLUME, began_empty=False), publish(block=False)
    assert fencing.formatting(unproven, attached(), request) is Formatting.FORBIDDEN
    assert fencing.formatting(replace(unproven, mark_void=True), attached(), request) is Formatting.FORBIDDEN


def test_the_mark_of_an_attachment_is_a_proof_as_well() -> None:
    """Records of earlier versions have nothing else."""
    unproven, request = replace(VOLUME, began_empty=False), publish(block=False)
    assert fencing.formatting(unproven, replace(attached(), blank=True), request) is Formatting.NEVER_FORMATTED


def test_once_another_node_could_write_nobody_may_take_the_volume_for_new() -> None:
    marked, request = replace(attached(), blank=True), publish(block=False)
    assert fencing.formatting(replace(VOLUME, mark_void=True), marked, request) is Formatting.UNKNOWN


def test_a_source_reading_only_and_raw_block_forbid_a_file_system_to_be_made() -> None:
    blank = replace(attached(), blank=True)
    restored = replace(VOLUME, source=Source(SourceKind.VOLUME, "w"), began_empty=False)
    assert fencing.formatting(restored, blank, publish(block=False)) is Formatting.FORBIDDEN
    assert fencing.formatting(VOLUME, replace(blank, read_only=True), publish(block=False)) is Formatting.FORBIDDEN
    assert fencing.formatting(VOLUME, blank, publish(block=True)) is Formatting.FORBIDDEN
