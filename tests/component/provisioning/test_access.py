from dataclasses import replace

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning import access

VOLUME = Volume(id="v", backend="b", size=GiB(1))
SHARED = replace(VOLUME, multiattach=True)


@pytest.mark.parametrize("mode", [AccessMode.MULTI_NODE_MULTI_WRITER, AccessMode.MULTI_NODE_SINGLE_WRITER])
def test_writers_on_several_nodes_get_raw_block_only(mode: AccessMode) -> None:
    access.check_possible([Capability(Block(), mode)])
    with pytest.raises(InvalidRequest, match="raw block") as error:
        access.check_possible([Capability(Block(), mode), Capability(Mount(), mode)])
    assert error.value.field == "volume_capabilities[1]"


def test_readers_on_several_nodes_may_share_a_file_system() -> None:
    access.check_possible([Capability(Mount("xfs"), AccessMode.MULTI_NODE_READER_ONLY)])
    assert access.many_nodes([Capability(Mount(), AccessMode.MULTI_NODE_READER_ONLY)])


def test_an_unknown_file_system_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"'ntfs'.*ext4, xfs, btrfs"):
        access.check_possible([Capability(Mount("ntfs"), AccessMode.SINGLE_NODE_WRITER)])


@pytest.mark.parametrize("mode", [mode for mode in AccessMode if not mode.multi_node])
def test_every_volume_serves_the_modes_of_one_node(mode: AccessMode) -> None:
    assert access.unsupported(VOLUME, [Capability(Mount(), mode), Capability(Block(), mode)]) == ""


def test_a_volume_serves_several_nodes_only_if_made_for_them() -> None:
    capability = Capability(Block(), AccessMode.MULTI_NODE_MULTI_WRITER)
    assert access.unsupported(SHARED, [capability]) == ""
    assert "several nodes" in access.unsupported(VOLUME, [capability])


def test_no_volume_serves_a_file_system_to_several_writers() -> None:
    assert "raw block" in access.unsupported(SHARED, [Capability(Mount(), AccessMode.MULTI_NODE_MULTI_WRITER)])


@pytest.mark.parametrize(
    ("fs_type", "default", "used"), [("xfs", "btrfs", "xfs"), ("", "btrfs", "btrfs"), ("", "", "ext4")]
)
def test_the_file_system_is_that_of_the_call_then_of_the_class_then_ext4(fs_type: str, default: str, used: str) -> None:
    assert access.file_system(Capability(Mount(fs_type), AccessMode.SINGLE_NODE_WRITER), default=default) == used


def test_a_raw_block_volume_has_no_file_system() -> None:
    assert access.file_system(Capability(Block(), AccessMode.SINGLE_NODE_WRITER), default="xfs") == ""


@pytest.mark.parametrize(
    ("mode", "asked", "read_only"),
    [
        (AccessMode.SINGLE_NODE_WRITER, False, False),
        (AccessMode.SINGLE_NODE_WRITER, True, True),
        (AccessMode.SINGLE_NODE_READER_ONLY, False, True),
    ],
)
def test_an_attachment_is_read_only_by_request_or_by_its_mode(mode: AccessMode, asked: bool, read_only: bool) -> None:
    assert access.read_only(mode, asked=asked) is read_only
