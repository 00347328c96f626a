"""What os-brick is told per protocol, seen from the host tools that it calls; tools here are scripts that note their arguments."""

from __future__ import annotations

import importlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from oslo_config import cfg

from csi_cinderlib.brick import AllowedPaths, Device, Initiator, initiator
from csi_cinderlib.brick.loading import prepare
from csi_cinderlib.errors import HostError, InvalidRequest, Unsupported
from csi_cinderlib.host import devices, loopctl, mounts
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.observe import logs
from tests.support import disks

Tools = Callable[[dict[str, str]], Path]
NVME = {
    "target_nqn": "nqn.2024-01.example:vol",
    "vol_uuid": "11111111-2222-3333-4444-555555555555",
    "portals": [["192.0.2.1", "4420", "tcp"], ["192.0.2.2", "4420", "RoCEv2"]],
}
ISCSI = {
    "target_portal": "192.0.2.1:3260",
    "target_iqn": "iqn.2024-01.example:vol",
    "target_lun": 1,
    "auth_method": "CHAP",
    "auth_username": "user",
    "auth_password": "s3cret-canary",
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Makes programs by name and script; each notes its call in the file that is returned."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    log.touch()

    def make(scripts: dict[str, str]) -> Path:
        for name, script in scripts.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{script}\n')
            (folder / name).chmod(0o755)
        return log

    make({"blockdev": "exit 1", "multipath": "exit 1", "multipathd": "exit 1"})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # os-brick waits between its attempts
    path = f"{folder}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr("csi_cinderlib.brick.execute._SEARCH_PATH", path)
    return make


def connection(protocol: str, data: Mapping[str, object]) -> Connection:
    return Connection(volume_id="vol", protocol=protocol, data=data)


def test_nvme_connects_each_portal_by_its_transport(tools: Tools, tmp_path: Path) -> None:
    log = tools({"nvme": "exit 3"})
    for protocol in ("nvmeof", "nvme"):
        with pytest.raises(HostError, match=rf"cannot connect volume vol \({protocol}\): VolumeDeviceNotFound"):
            Initiator(tmp_path).connect(connection(protocol, NVME))
    calls = log.read_text()
    assert "nvme connect -a 192.0.2.1 -s 4420 -t tcp -n nqn.2024-01.example:vol" in calls
    assert "nvme connect -a 192.0.2.2 -s 4420 -t rdma -n nqn.2024-01.example:vol" in calls
    Initiator(tmp_path).disconnect(connection("nvmeof", NVME))


def test_the_connection_is_not_changed_by_os_brick(tools: Tools, tmp_path: Path) -> None:
    tools({"nvme": "exit 3"})
    old = {"nqn": "nqn.x:vol", "transport_type": "tcp", "target_portal": "192.0.2.1", "target_port": 4420, "ns_id": 1}
    given = connection("nvmeof", dict(old))
    for _ in range(2):
        with pytest.raises(HostError, match="VolumeDeviceNotFound"):
            Initiator(tmp_path).connect(given)
    assert given.data == old


def test_names_that_are_refused_are_not_used_to_let_go_of_a_volume(tools: Tools, tmp_path: Path) -> None:
    """LightOS's connector removes the file that it would have written, NVMe-oF's stops the RAID of that name."""
    log = tools({"nvme": "exit 3", "mdadm": ""})
    files, kept = tmp_path / "discovery.d", tmp_path / "kept.conf"
    files.mkdir()
    kept.touch()
    prepare(tmp_path / "locks")
    importlib.import_module("os_brick.initiator.connectors.lightos")
    cfg.CONF.set_override("lightos_discovery_client_dir_path", str(files), "os_brick")
    try:
        for given in (
            connection("lightos", {"uuid": "../kept"}),
            connection("nvmeof", {**NVME, "alias": "../sda", "volume_replicas": []}),
        ):
            with pytest.raises((HostError, InvalidRequest)):
                Initiator(tmp_path).connect(given)
            Initiator(tmp_path).disconnect(given)
            with pytest.raises(InvalidRequest, match="contains forbidden characters"):
                Initiator(tmp_path).disconnect(given, Device(path="/dev/absent"))
    finally:
        cfg.CONF.clear_override("lightos_discovery_client_dir_path", "os_brick")
    assert kept.exists()
    assert log.read_text() == ""


def test_a_connection_names_no_device_that_is_let_go_instead(tools: Tools, tmp_path: Path) -> None:
    """os-brick would stop a RAID below /dev/md, flush any other device, and unlink what looks like a link of its own."""
    log = tools({"nvme": "exit 3", "mdadm": "", "blockdev": ""})
    for path in ("/dev/md/../null", "/dev/null", "/dev/disk/by-id/os-brick+dev+null"):
        Initiator(tmp_path).disconnect(connection("nvmeof", {**NVME, "device_path": path, "encrypted": True}))
    assert "/dev" not in log.read_text()


def test_a_host_without_fibre_channel_says_so(tools: Tools, tmp_path: Path) -> None:
    given = connection("fibre_channel", {"target_wwn": ["50060E8000000001"], "target_lun": 3})
    with pytest.raises(HostError, match="unable to locate any Fibre Channel devices"):
        Initiator(tmp_path).connect(given)
    Initiator(tmp_path).disconnect(given)


def test_iscsi_fails_in_one_line_without_its_password(tools: Tools, tmp_path: Path) -> None:
    log = tools(
        {
            "iscsiadm": 'case "$*" in *auth.username*) echo "bad s3cret-canary" >&2; exit 7;; "-m session"*) exit 21;; esac'
        }
    )
    with pytest.raises(HostError) as caught:
        Initiator(tmp_path).connect(connection("iscsi", ISCSI))
    assert "canary" not in str(caught.value)
    assert "cannot connect volume vol (iscsi)" in str(caught.value)
    assert "-n node.session.auth.username -v user" in log.read_text()
    assert "canary" not in log.read_text()
    Initiator(tmp_path).disconnect(connection("iscsi", ISCSI))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that this process logs."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    logs.configure(format="json", level="debug", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_what_os_brick_logs_is_logged_without_the_password(tools: Tools, tmp_path: Path, log: io.StringIO) -> None:
    tools(
        {
            "iscsiadm": 'case "$*" in *auth.username*) exit 7;; "-m session"*) echo "set s3cret-canary" >&2; exit 21;; esac'
        }
    )
    with pytest.raises(HostError):
        Initiator(tmp_path, scan_attempts=1).connect(connection("iscsi", ISCSI))
    Initiator(tmp_path).disconnect(connection("iscsi", ISCSI))
    assert "set ***" in log.getvalue()
    assert "canary" not in log.getvalue()


def test_the_key_in_a_keyring_is_hidden_without_the_rest_of_it(tools: Tools, tmp_path: Path) -> None:
    tools({"rbd": 'case "$*" in map*) echo "no s3cret-canary" >&2; exit 3;; esac; echo "[]"'})
    data = {"name": "p/i", "hosts": ["192.0.2.1"], "ports": ["6789"], "cluster_name": "ceph", "auth_username": "user"}
    with pytest.raises(HostError, match=r"no \*\*\*"):
        Initiator(tmp_path).connect(connection("rbd", {**data, "keyring": "[client.user]\n\tkey = s3cret-canary\n"}))


def test_rbd_is_mapped_with_the_keyring_that_came_along(tools: Tools, tmp_path: Path) -> None:
    log = tools({"rbd": 'case "$*" in map*) exit 3;; esac; echo "[]"'})
    data: dict[str, object] = {
        "name": "pool/image",
        "hosts": ["192.0.2.1"],
        "ports": ["6789"],
        "cluster_name": "ceph",
        "auth_username": "user",
        "keyring": "[client.user]\nkey = s3cret-canary",
    }
    with pytest.raises(HostError, match=r"rbd map image --pool pool --id user --mon_host 192\.0\.2\.1:6789") as caught:
        Initiator(tmp_path).connect(connection("rbd", data))
    assert "canary" not in str(caught.value)
    Initiator(tmp_path).disconnect(connection("rbd", data))
    assert "rbd showmapped" in log.read_text()


RBD = {
    "name": "pool/image",
    "hosts": ["192.0.2.1"],
    "ports": ["6789"],
    "cluster_name": "ceph",
    "auth_username": "user",
    "keyring": "[client.user]\nkey = s3cret-canary",
}


def test_the_file_with_cephs_key_goes_once_the_image_is_mapped(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(initiator, "_APPEAR_SECONDS", 0.0)
    seen = tmp_path / "seen"
    log = tools({"rbd": f'case "$*" in map*) stat -c %a {tmp_path}/brickrbd_* >> {seen};; *) echo "[]";; esac'})
    with pytest.raises(HostError, match="/dev/rbd/pool/image did not appear within"):
        Initiator(tmp_path).connect(connection("rbd", RBD))
    assert seen.read_text() == "600\n"
    assert list(tmp_path.glob("brickrbd_*")) == []
    assert "canary" not in log.read_text()


@pytest.mark.parametrize("is_there", [True, False])
def test_an_image_is_unmapped_whether_or_not_the_file_of_an_earlier_version_is_there(
    tools: Tools, tmp_path: Path, is_there: bool
) -> None:
    """It left the file, and the container's temporary directory may be a new one since."""
    file = tmp_path / "brickrbd_x"
    if is_there:
        file.touch()
    log = tools({"rbd": 'echo "[]"'})
    device = Device(path="/dev/no-such-rbd", info={"path": "/dev/no-such-rbd", "conf": str(file)})
    Initiator(tmp_path).disconnect(connection("rbd", RBD), device)
    assert ("--conf" in log.read_text()) == is_there


def test_a_share_is_mounted_below_the_state_directory(tools: Tools, tmp_path: Path) -> None:
    log = tools({"mount": "exit 32", "mount.nfs": ""})
    given = connection("nfs", {"export": "192.0.2.1:/x", "name": "volume-1", "options": "-o vers=4"})
    with pytest.raises(HostError, match="NFS mount failed"):
        Initiator(tmp_path / "state").connect(given)
    assert f"192.0.2.1:/x {tmp_path}/state/shares/" in log.read_text()
    Initiator(tmp_path / "state").disconnect(given)


@pytest.mark.parametrize("name", ["../etc/shadow", "a/b", "", ".."])
def test_a_volume_cannot_lie_outside_its_share(tools: Tools, tmp_path: Path, name: str) -> None:
    tools({"mount": "", "mount.nfs": ""})
    with pytest.raises(InvalidRequest):
        Initiator(tmp_path).connect(connection("nfs", {"export": "192.0.2.1:/x", "name": name}))


def test_a_file_in_another_format_is_refused_by_name(tools: Tools, tmp_path: Path) -> None:
    tools({"mount": "", "mount.nfs": ""})
    with pytest.raises(Unsupported, match="qcow2"):
        Initiator(tmp_path).connect(connection("nfs", {"export": "h:/x", "name": "v", "format": "qcow2"}))


def below(directory: Path) -> AllowedPaths:
    return AllowedPaths(lambda: [str(directory)])


def test_an_unknown_protocol_and_an_empty_local_connection_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="'drbd'"):
        Initiator(tmp_path).connect(connection("drbd", {}))
    with pytest.raises(InvalidRequest, match="device_path"):
        Initiator(tmp_path).connect(connection("local", {"device_path": "relative"}))


def test_a_missing_local_file_is_a_host_error_at_once(tmp_path: Path) -> None:
    given = connection("local", {"device_path": str(tmp_path / "absent")})
    with pytest.raises(HostError, match="does not exist"):
        Initiator(tmp_path, allowed=below(tmp_path)).connect(given)
    Initiator(tmp_path, allowed=below(tmp_path)).disconnect(given)


def test_a_vendor_daemon_that_is_not_there_is_a_host_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="StorPool"):
        Initiator(tmp_path).connect(connection("storpool", {}))


@pytest.mark.root
def test_a_file_is_attached_found_again_grown_and_detached(tmp_path: Path) -> None:
    file = tmp_path / "volume-1"
    file.write_bytes(bytes(8 << 20))
    given = connection("local", {"device_path": str(file)})
    initiator = Initiator(tmp_path, allowed=below(tmp_path))
    device = initiator.connect(given)
    assert initiator.connect(given) == device
    assert (device.file, device.multipath) == (str(file), False)
    assert device.wwid.endswith("volume-1")
    os.truncate(file, 16 << 20)
    assert initiator.extend(given, device, expected=16 << 20) == 16 << 20
    initiator.disconnect(given)  # from the connection alone
    initiator.disconnect(given, device)
    assert not Path(f"/sys/block/{Path(device.path).name}/loop").exists()


@pytest.mark.root
def test_a_device_of_another_machine_that_shows_less_may_show_more_later(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(bytes(8 << 20))
    shown = devices.attach_file(str(file))
    try:
        with pytest.raises(HostError, match=rf"{shown} has {8 << 20} bytes after the expansion"):
            Initiator(tmp_path).extend(connection("gpfs", {}), Device(path=shown), expected=16 << 20)
    finally:
        devices.detach_from(str(file))


@pytest.mark.root
def test_growth_is_not_confirmed_while_the_file_is_out_of_reach(tmp_path: Path) -> None:
    file, hidden = tmp_path / "volume-1", tmp_path / "elsewhere"
    file.write_bytes(bytes(8 << 20))
    given = connection("local", {"device_path": str(file)})
    initiator = Initiator(tmp_path, allowed=below(tmp_path))
    device = initiator.connect(given)
    os.truncate(file, 16 << 20)
    file.rename(hidden)
    with pytest.raises(HostError, match=rf"cannot read the new size of {device.path}: {file}: No such file"):
        initiator.extend(given, device)
    hidden.rename(file)
    assert initiator.extend(given, device) == 16 << 20
    initiator.disconnect(given, device)


@pytest.mark.root
def test_a_device_that_was_given_to_another_volume_is_left_alone(tmp_path: Path) -> None:
    mine, other = tmp_path / "volume-1", tmp_path / "volume-2"
    for file in (mine, other):
        file.write_bytes(bytes(8 << 20))
    initiator = Initiator(tmp_path, allowed=below(tmp_path))
    device = initiator.connect(connection("local", {"device_path": str(other)}))
    stale = Device(path=device.path, wwid="loop:1:volume-1", file=str(mine))
    initiator.disconnect(connection("local", {"device_path": str(mine)}), stale)
    assert Path(f"/sys/block/{Path(device.path).name}/loop").exists()
    initiator.disconnect(connection("local", {"device_path": str(other)}), device)


@pytest.mark.root
def test_a_loop_device_of_unknown_origin_stays_known_while_its_files_disk_is_unmounted(tmp_path: Path) -> None:
    """A process died between attaching the file and recording the device, and then the disk of the file went away."""
    with disks.mounted(tmp_path / "pool", 8) as disk:
        file = disk.path / "volume-1"
        file.write_bytes(bytes(1 << 20))
        given, initiator = connection("local", {"device_path": str(file)}), Initiator(tmp_path, allowed=below(tmp_path))
        device = devices.attach_file(str(file))
        kept = tmp_path / "kept"
        kept.mkdir()
        mounts.bind(str(disk.path), str(kept))
        mounts.unmount(str(disk.path), lazy=True)
        with pytest.raises(
            HostError,
            match=f"cannot detach {file}: it cannot be reached, and {device} is attached to a file with that name",
        ):
            initiator.disconnect(given)
        mounts.bind(str(kept), str(disk.path))
        mounts.unmount(str(kept))
        initiator.disconnect(given)
        assert device not in loops_of(file)


@pytest.mark.root
def test_a_loop_device_on_a_file_that_was_deleted_is_detached(tmp_path: Path) -> None:
    file = tmp_path / "volume-1"
    file.write_bytes(bytes(1 << 20))
    devices.attach_file(str(file))
    file.unlink()
    Initiator(tmp_path, allowed=below(tmp_path)).disconnect(connection("local", {"device_path": str(file)}))
    assert loops_of(file) == []


def loops_of(file: Path) -> list[str]:
    return [loopctl.node(number) for number, shown in loopctl.attached().items() if shown.startswith(str(file))]
