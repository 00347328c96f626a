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
