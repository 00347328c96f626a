"""The volume on this host, by its stage record; with devices: tests/program/serve/test_inspection.py."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.inspection import host_view
from csi_cinderlib.inspection.observed import HostView, Mounted
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.node.stage_record import Publication, StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords

MOUNT = Capability(Mount(fs_type="ext4", flags=(), group=""), AccessMode.SINGLE_NODE_WRITER)
SECRET = {"target_iqn": "iqn.x", "auth_password": "geheim"}


def save(state_dir: Path, **values: object) -> None:
    base: dict[str, object] = {
        "volume_id": "v1",
        "staging_path": str(state_dir / "staging"),
        "capability": MOUNT,
        "connection": Connection(volume_id="v1", protocol="iscsi", data=SECRET),
        "state": State.STAGED,
        "device": Device(path="/dev/not-there", wwid="x", multipath=True),
        "fs_type": "ext4",
    }
    StageRecords(state_dir).save(StageRecord(**{**base, **values}))  # type: ignore[arg-type]  # its own fields


def files(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_host_without_stage_records_is_no_node(tmp_path: Path) -> None:
    assert host_view.look(tmp_path, "v1", name="h") is None


def test_a_volume_that_was_never_staged_here_has_no_stage(tmp_path: Path) -> None:
    save(tmp_path)
    assert host_view.look(tmp_path, "v2", name="h") == HostView(name="h")


def test_a_staged_volume_comes_with_its_device_and_mounts_and_nothing_changes(tmp_path: Path) -> None:
    save(tmp_path, publications=(Publication(target_path="/target", capability=MOUNT),))
    before = files(tmp_path)
    assert host_view.look(tmp_path, "v1", name="h") == HostView(
        name="h",
        stage="staged",
        protocol="iscsi",
        device="/dev/not-there",
        multipath=True,
        problem="the device /dev/not-there is gone",
        fs_type="ext4",
        mounts=(Mounted(path=str(tmp_path / "staging")), Mounted(path="/target")),
    )
    assert files(tmp_path) == before


def test_a_raw_block_volume_has_no_mount_at_its_staging_path(tmp_path: Path) -> None:
    save(tmp_path, capability=Capability(Block(), AccessMode.SINGLE_NODE_WRITER), fs_type="")
    view = host_view.look(tmp_path, "v1", name="h")
    assert view is not None
    assert view.mounts == ()


def test_the_mount_of_a_path_is_found(tmp_path: Path) -> None:
    save(tmp_path, staging_path="/proc", device=None)
    view = host_view.look(tmp_path, "v1", name="h")
    assert view is not None
    assert [(mount.path, mount.present, mount.problem) for mount in view.mounts] == [("/proc", True, "")]


@pytest.mark.parametrize("text", ["{", "[]", '{"v": 9}', '{"v": 1}', ""])
def test_an_unreadable_stage_record_is_reported(tmp_path: Path, text: str) -> None:
    save(tmp_path)
    (tmp_path / "stage/v1.json").write_text(text)
    view = host_view.look(tmp_path, "v1", name="h")
    assert view is not None
    assert view.stage == "unreadable"
    assert view.problem.startswith("its stage record cannot be read: ")


def test_a_question_that_is_not_answered_ends_after_its_time() -> None:
    began = time.monotonic()
    assert host_view.ask(never, 0.2) is None
    assert time.monotonic() - began < 60


def test_a_question_is_answered_by_another_process() -> None:
    answer = host_view.ask(lambda: {"pid": os.getpid(), "text": "x" * 500_000}, 60)
    assert answer is not None
    assert (answer["pid"] != os.getpid(), len(answer["text"])) == (True, 500_000)


def test_a_question_whose_process_is_killed_has_no_answer() -> None:
    assert host_view.ask(killed, 60) is None


def never() -> dict[str, object]:
    time.sleep(600)
    return {}


def killed() -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}
