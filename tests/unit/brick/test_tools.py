"""What each protocol needs of the host."""

import pytest

from csi_cinderlib.brick import tools
from csi_cinderlib.errors import HostError


def test_a_missing_tool_is_named_with_its_package() -> None:
    with pytest.raises(
        HostError, match=r"iscsi volumes need iscsiadm \(Debian package open-iscsi\), which this host lacks"
    ):
        tools.require("iscsi", which=lambda tool: None if tool == "iscsiadm" else f"/sbin/{tool}")


def test_multipath_needs_its_daemon_only_for_scsi() -> None:
    assert "multipathd" in tools.needed("iscsi", multipath=True)
    assert "multipathd" not in tools.needed("rbd", multipath=True)
    assert tools.needed("local", multipath=True) == ()


def test_a_complete_host_lacks_nothing() -> None:
    tools.require("nfs", which=lambda tool: f"/sbin/{tool}")
    assert tools.missing(tools.needed("nfs"), lambda tool: None) == ("mount", "mount.nfs")


@pytest.mark.parametrize(
    "protocol", ["iscsi", "iser", "fibre_channel", "nvmeof", "nvme", "lightos", "rbd", "nfs", "glusterfs"]
)
def test_every_needed_tool_has_a_package(protocol: str) -> None:
    wanted = tools.needed(protocol, multipath=True)
    assert wanted
    assert all(tool in tools.PACKAGES for tool in wanted)
