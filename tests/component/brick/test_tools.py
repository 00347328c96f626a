"""What each protocol needs of the host."""

from pathlib import Path

import pytest

from csi_cinderlib.brick import tools
from csi_cinderlib.errors import HostError


def test_a_missing_tool_is_named_with_its_package() -> None:
    with pytest.raises(
        HostError,
        match=r"iscsi volumes require iscsiadm \(Debian package open-iscsi\), which is not installed on this host",
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


def test_what_every_protocol_lacks_is_known_before_a_volume_comes() -> None:
    found = tools.lacking(multipath=True, which=lambda tool: None if tool in ("rbd", "multipathd") else f"/sbin/{tool}")
    assert found == {"iscsi": ("multipathd",), "fibre_channel": ("multipathd",), "rbd": ("rbd",)}


def test_a_program_that_the_image_should_have_is_not_asked_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "host-tool").touch(0o755)
    (tmp_path / "nvme").symlink_to("host-tool")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        tools.advice(["mount.glusterfs"])
        == "mount.glusterfs (Debian package glusterfs-client), which is not installed in this image"
    )
    assert "which this container cannot run on the host" in tools.advice(["nvme"])
