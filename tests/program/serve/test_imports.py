"""Files are imported by the command, through the running program, and mounted with their content. None is ever formatted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from csi_cinderlib import cli
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.size import BYTES_PER_GIB
from tests.program.serve.conftest import Start

pytestmark = pytest.mark.root

LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
WORDS = b"from before\n"
MOUNT = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


@pytest.fixture
def driver(start: Start, files: Path) -> DriverProcess:
    options = {"loopfile_directories": [f"one:{files}"], "max_over_subscription_ratio": 1000}
    driver = start(config=yaml.safe_dump({"backends": {"local": {"driver": LOOP_FILE, "options": options}}}))
    driver.wait_until_ready()
    return driver


@pytest.fixture
def imports(driver: DriverProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `import-volume` beside the driver; returns its exit code."""
    monkeypatch.delenv("KUBECONFIG", raising=False)

    def run(*words: str, command: str = "import-volume") -> int:
        return cli.main([command, *words, "--config", str(driver.state_dir / "config.yaml"), *_state(driver)])

    return run


def _state(driver: DriverProcess) -> list[str]:
    return ["--state-dir", str(driver.state_dir)]


def with_file_system(path: Path, kind: str, tmp_path: Path) -> None:
    """A file with that file system, and in it a file with WORDS."""
    content = tmp_path / f"content of {path.name}"
    content.mkdir()
    (content / "words").write_bytes(WORDS)
    hole(path)
    if kind == "ext4":
        run("mkfs.ext4", "-q", "-d", str(content), str(path))
    else:
        run(f"mkfs.{kind}", "-q", str(path))


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(BYTES_PER_GIB)


def run(*command: str, text: str = "") -> None:
    subprocess.run(command, check=True, input=text.encode(), capture_output=True)


class Node:
    """Attaches and mounts a volume as the attacher and the kubelet do."""

    def __init__(self, driver: DriverProcess, base: Path, volume_id: str) -> None:
        self._controller: Any = csi_pb2_grpc.ControllerStub(driver.channel)
        self._node: Any = csi_pb2_grpc.NodeStub(driver.channel)
        self._id = volume_id
        self._node_id = self._node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=60).node_id
        self._staging, self._target = base / "staging", base / "target"

    def stage(self) -> None:
        publish = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=self._id, node_id=self._node_id, volume_capability=MOUNT
        )
        self._context = self._controller.ControllerPublishVolume(publish, timeout=60).publish_context
        self._staging.mkdir(exist_ok=True)
        request = csi_pb2.NodeStageVolumeRequest(staging_target_path=str(self._staging), **self._common())
        self._node.NodeStageVolume(request, timeout=60)

    def read(self) -> bytes:
        request = csi_pb2.NodePublishVolumeRequest(
            staging_target_path=str(self._staging), target_path=str(self._target), **self._common()
        )
        self._node.NodePublishVolume(request, timeout=60)
        found = (self._target / "words").read_bytes()
        unpublish = csi_pb2.NodeUnpublishVolumeRequest(volume_id=self._id, target_path=str(self._target))
        self._node.NodeUnpublishVolume(unpublish, timeout=60)
        return found

    def detach(self) -> None:
        unstage = csi_pb2.NodeUnstageVolumeRequest(volume_id=self._id, staging_target_path=str(self._staging))
        self._node.NodeUnstageVolume(unstage, timeout=60)
        unpublish = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=self._id, node_id=self._node_id)
        self._controller.ControllerUnpublishVolume(unpublish, timeout=60)

    def delete(self) -> None:
        self._controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=self._id), timeout=60)

    def _common(self) -> dict[str, Any]:
        return {"volume_id": self._id, "publish_context": self._context, "volume_capability": MOUNT}


def id_of(shown: str) -> str:
    return shown.partition(" is volume ")[2].split()[0]


def test_a_file_is_imported_mounted_and_given_up(
    imports: Any, driver: DriverProcess, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_file_system(files / "disk.img", "ext4", tmp_path)
    assert imports("local", "--list", "-o", "json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["gib"], listed["importable"]) == ("disk.img", 1, "yes")
    assert imports("local", "disk.img", "--size", "1Gi", "--dry-run") == 0
    assert "would import disk.img (1 GiB)" in capsys.readouterr().err
    assert imports("local", "disk.img", "--claim", "apps/db") == 2
    assert "--manifests: is needed where no cluster can be reached" in capsys.readouterr().err
    assert imports("local", "disk.img", "--size", "1Gi", "--claim", "apps/db", "--manifests") == 0
    told = capsys.readouterr()
    id = id_of(told.err)
    volume, claim = yaml.safe_load_all(told.out)
    assert volume["spec"]["csi"] == {
        "driver": "csi.cinderlib.io",
        "volumeHandle": id,
        "volumeAttributes": {"backend": "local", "pool": "one"},
    }
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"] == "db"
    assert imports("local", "disk.img", "--dry-run") == 0
    assert f"disk.img is imported already, as volume {id}" in capsys.readouterr().err
    node = Node(driver, tmp_path, id)
    node.stage()
    assert node.read() == WORDS
    assert imports("local", "disk.img", "--undo") == 1
    assert "is attached to" in capsys.readouterr().err
    node.detach()
    assert imports("local", "disk.img", "--undo") == 0
    assert f"volume {id} given up; on back end local it is disk.img" in capsys.readouterr().err
    assert imports("local", "disk.img", "--undo") == 0
    assert "volume disk.img of back end local was already given up" in capsys.readouterr().err
    assert imports("local", "other.img", "--undo") == 2
    assert "volume 'other.img' was not imported from back end 'local'" in capsys.readouterr().err
    run("e2fsck", "-fn", str(files / "disk.img"))


def test_another_file_system_is_kept_and_a_static_volume_outlives_its_deletion(
    imports: Any, driver: DriverProcess, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_file_system(files / "disk.img", "xfs", tmp_path)
    assert imports("local", "disk.img", "--static") == 0
    node = Node(driver, tmp_path, id_of(capsys.readouterr().err))
    node.stage()
    node.detach()
    node.delete()
    run("xfs_repair", "-n", "-f", str(files / "disk.img"))


@pytest.mark.parametrize("content", ["nothing", "partition table", "another file system"])
def test_a_volume_without_the_file_system_is_refused_and_never_formatted(
    imports: Any, driver: DriverProcess, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Not even an empty one."""
    path, fs_type = files / "disk.img", ""
    hole(path)
    if content == "partition table":
        run("sfdisk", "-q", str(path), text="label: gpt\nsize=100M\n")
    if content == "another file system":
        run("mkfs.xfs", "-q", str(path))
        fs_type = "ext4"
    before = path.read_bytes()[: 1 << 20]
    assert imports("local", "disk.img", *(["--fs-type", fs_type] if fs_type else [])) == 0
    id = id_of(capsys.readouterr().err)
    node = Node(driver, tmp_path, id)
    with pytest.raises(grpc.RpcError) as refused:
        node.stage()
    assert refused.value.details() is not None
    expected = {
        "nothing": "the volume must not be formatted",
        "partition table": "the device contains",
        "another file system": "the device contains file system 'xfs', but 'ext4' was requested",
    }
    assert expected[content] in str(refused.value.details())
    node.detach()
    assert (files / f"volume-{id}").read_bytes()[: 1 << 20] == before
    assert imports("local", "disk.img", "--undo") == 0


def test_wrong_words_of_the_command_are_named(imports: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (("local",), "NAME: must be the name of an object on the back end"),
        (("local", "a", "--claim", "db"), "--claim: must be NAMESPACE/NAME (got 'db')"),
        (("local", "a", "--size", "1500Mi"), "--size: must be whole GiB, such as 10Gi"),
        (("local", "a", "--static", "--reclaim-policy", "Delete"), "--reclaim-policy: must be Retain with --static"),
        (("local", "a", "--access-mode", "ReadWriteMany"), "unsupported access mode MULTI_NODE_MULTI_WRITER"),
        (("local", "a", "--encryption", "luks1"), "--encryption: unsupported encryption 'luks1'; supported: luks2"),
        (("local", "a", "--fs-type", "zfs"), "--fs-type: unsupported file system 'zfs'; supported: ext4, xfs, btrfs"),
    ):
        assert imports(*words) == 2
        assert message in capsys.readouterr().err
    assert imports("elsewhere", "a") == 1
    assert "back end 'elsewhere': it is no longer configured; configured: local" in capsys.readouterr().err


def test_a_snapshot_is_imported_and_given_up(
    imports: Any, driver: DriverProcess, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hole(files / "disk.img")
    hole(files / "snapshot-monday")
    assert imports("local", "disk.img") == 0
    volume = id_of(capsys.readouterr().err)
    options = ("--volume", volume, "--snapshot", "apps/monday", "--manifests")
    assert imports("local", "snapshot-monday", *options, command="import-snapshot") == 0
    told = capsys.readouterr()
    content, snapshot = yaml.safe_load_all(told.out)
    assert content["spec"]["source"]["snapshotHandle"] in told.err
    assert snapshot["spec"]["source"]["volumeSnapshotContentName"] == content["metadata"]["name"]
    assert imports("local", "disk.img", "--undo") == 1
    assert "has snapshots; delete them first" in capsys.readouterr().err
    assert imports("local", "snapshot-monday", "--undo", command="import-snapshot") == 0
    assert imports("local", "disk.img", "--undo") == 0
    assert {path.name for path in files.iterdir() if path.is_file() and path.name[0] != "."} == {
        "disk.img",
        "snapshot-monday",
    }
