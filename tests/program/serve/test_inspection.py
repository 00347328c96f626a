"""What operators see beside a running driver, one that hangs, and after one that was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model import nodes
from csi_cinderlib.model.records import Modification, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.plugins import open_store
from tests.program.serve.conftest import Calls, Start, until
from tests.program.serve.test_administration import QUICK, config

MEMORY = "store: {plugin: memory}\n"
EXT4 = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


def run(driver: DriverProcess | Path, *words: str, code: int = 0) -> str:
    """What a command prints on both streams."""
    state_dir = driver if isinstance(driver, Path) else driver.state_dir
    given = ["--config", str(state_dir / "config.yaml")] if (state_dir / "config.yaml").exists() else []
    done = subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words, "--state-dir", str(state_dir), *given],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(driver: DriverProcess | Path, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(run(driver, *words, "-o", "json")))


def half_made(state_dir: Path, id: str = "half", backend: str = "quick") -> None:
    """A creation that a controller, which is gone, has just begun."""
    state_dir.mkdir(exist_ok=True)
    store = open_store("sql", state_dir=state_dir)
    now = stamp(datetime.now(UTC))
    store.add(Volume(id=id, backend=backend, size=GiB(1), status=Status.CREATING, owner="gone", created_at=now))
    store.close()


def state(directory: Path) -> dict[str, tuple[int, int]]:
    """The store's files: size and time."""
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.glob("metadata.db*")}


def test_a_back_end_whose_file_became_unreadable_is_listed_while_it_runs(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "backends"
    directory.mkdir()
    file = directory / "mine.yaml"
    file.write_text(f"{QUICK}\n")
    driver = start("--mode", "controller", config=f"backends_directory: {directory}\n")
    driver.wait_until_ready()
    file.write_text("quick: {driver: [unfinished")
    until(
        lambda: (
            {("quick", "ready"), ("mine.yaml", "unreadable")}
            == {(row["name"], row["state"]) for row in rows(driver, "get", "backends")}
        ),
        driver,
    )


def test_lists_are_read_beside_a_driver_that_runs_hangs_or_was_killed(start: Start) -> None:
    driver = start("--mode", "controller", config=config(QUICK))
    driver.wait_until_ready()
    volume = Calls(driver).create("pvc-1")
    before = state(driver.state_dir)
    assert "metadata.db-wal" in before
    assert [row["id"] for row in rows(driver, "get", "volumes")] == [volume]
    os.kill(driver.pid, signal.SIGSTOP)
    try:
        assert [row["id"] for row in rows(driver, "get", "volumes")] == [volume]
        (backend,) = rows(driver, "get", "backends")
        assert (backend["state"], backend["volumes"]) == ("unknown", 1)
        assert "did not respond within 10 s" in backend["reason"]
    finally:
        os.kill(driver.pid, signal.SIGCONT)
    assert [row["state"] for row in rows(driver, "get", "backends")] == ["ready"]
    driver.kill()
    killed = state(driver.state_dir)
    assert "2 records, verified" in run(driver, "export", "-")
    assert [row["id"] for row in rows(driver, "get", "volumes")] == [volume]
    assert state(driver.state_dir) == killed


def test_the_records_of_a_store_in_memory_are_asked_of_the_driver(start: Start) -> None:
    driver = start("--mode", "controller", config=MEMORY + config(QUICK))
    driver.wait_until_ready()
    calls = Calls(driver)
    volume = calls.create("pvc-1")
    calls.publish(volume, nodes.encode({"host": "worker-1", "initiator": "iqn.x"}))
    (row,) = rows(driver, "get", "volumes")
    assert (row["id"], row["status"], row["nodes"]) == (volume, "available", ["worker-1"])
    assert [row["volume"] for row in rows(driver, "get", "attachments", "--node", "worker-1")] == [volume]
    assert rows(driver, "get", "volumes", "--status", "error") == []
    assert rows(driver, "get", "orphans") == []
    assert [row["registered"] for row in rows(driver, "get", "nodes")] == ["in its id"]
    assert f"volume {volume}: available" in run(driver, "explain", volume[:8])
    driver.stop()
    assert "no driver is running with state directory" in run(driver.state_dir, "get", "volumes", code=2)


def test_an_orphan_is_repaired_by_the_running_driver(start: Start, tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    driver = start("--mode", "controller", config=config(QUICK))
    driver.wait_until_ready()
    assert run(driver, "orphans", "fix", "half", "--dry-run").endswith(": undo the creation\n")
    assert [row["due"] for row in rows(driver, "get", "orphans")] == [False]
    assert run(driver, "orphans", "fix", "ha", "--yes").splitlines()[-1] == "volume half: repaired"
    assert rows(driver, "get", "orphans") == []
    assert "not found by id" in run(driver, "orphans", "fix", "half", code=2)


def test_an_orphan_is_repaired_while_no_driver_runs(tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    (tmp_path / "state/config.yaml").write_text(config(QUICK))
    assert run(tmp_path / "state", "orphans", "fix", "--all").splitlines()[-1] == "volume half: repaired"
    assert rows(tmp_path / "state", "get", "volumes") == []


def test_an_orphan_whose_back_end_is_away_stays_with_the_reason(tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    assert "volume half: not repaired: back end 'quick': " in run(tmp_path / "state", "orphans", "fix", "half", code=1)
    assert [row["id"] for row in rows(tmp_path / "state", "get", "orphans")] == ["half"]


def test_a_back_end_that_does_not_start_holds_up_no_repair_on_another(tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    half_made(tmp_path / "state", "other", backend="away")
    away = "away: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_group: not-there}}"
    (tmp_path / "state/config.yaml").write_text(config(QUICK, away))
    told = run(tmp_path / "state", "orphans", "fix", "--all", code=1)
    assert "volume half: repaired\n" in told
    assert "volume other: not repaired: back end 'away': " in told
    assert [row["id"] for row in rows(tmp_path / "state", "get", "orphans")] == ["other"]


def test_what_failed_is_forgotten_through_the_running_driver(start: Start, tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    store = open_store("sql", state_dir=tmp_path / "state")
    found = store.get(Volume, "half")
    store.remove(found)
    taken = "an object of that name exists"
    store.add(Volume(id="half", backend="quick", size=GiB(1), status=Status.ERROR, name_taken=taken))
    store.close()
    driver = start("--mode", "controller", config=config(QUICK))
    driver.wait_until_ready()
    refused = run(driver, "orphans", "fix", "half", code=1)
    assert "not repaired. Look for it on the back end, then run `csi-cinderlib orphans forget half`." in refused
    assert run(driver, "orphans", "forget", "half") == "forgotten: the record of volume 'half' on back end 'quick'\n"
    assert rows(driver, "get", "volumes") == []
    assert "give a complete id of `csi-cinderlib get orphans`" in run(driver, "orphans", "forget", "half", code=2)


def test_orphans_restored_refuses_while_a_controller_runs(start: Start) -> None:
    """Otherwise it would mark the calls that are in progress."""
    driver = start("--mode", "controller", config=config(QUICK))
    driver.wait_until_ready()
    assert "a controller is running with state directory" in run(driver, "orphans", "restored", code=1)


@pytest.mark.root
def test_a_volume_is_followed_from_its_record_to_its_mount(start: Start, tmp_path: Path) -> None:
    driver = start()
    driver.wait_until_ready()
    node = csi_pb2_grpc.NodeStub(driver.channel)
    request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[EXT4])
    volume = Calls(driver).stub.CreateVolume(request, timeout=60).volume.volume_id
    node_id = node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=60).node_id
    publish = csi_pb2.ControllerPublishVolumeRequest(volume_id=volume, node_id=node_id, volume_capability=EXT4)
    context = Calls(driver).stub.ControllerPublishVolume(publish, timeout=60).publish_context
    staging = tmp_path / "staging"
    staging.mkdir()
    where: dict[str, Any] = {"volume_id": volume, "publish_context": context, "volume_capability": EXT4}
    node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest(staging_target_path=str(staging), **where), timeout=120)
    try:
        told = run(driver, "explain", volume)
        assert re.sub(r"\b\d+s\b|/dev/loop\d+|\(.{36}\)|[\d.]+ GiB free", "*", told).replace(
            volume, "ID"
        ).splitlines() == [
            "ID",
            "├─ volume ID: available, 1 GiB, * old",
            "│  ├─ back end local: ready, *",
            "│  ├─ object volume-ID: pool volumes",
            f"│  └─ attachment {os.uname().nodename} *: available, *",
            f"└─ host {os.uname().nodename}: stage record: staged",
            "   ├─ device *: local, works",
            "   ├─ file system ext4",
            f"   └─ mount {staging}: mounted",
            "",
            "No fault was found.",
            "  What to do: No action is needed.",
        ]
    finally:
        unstage = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path=str(staging))
        node.NodeUnstageVolume(unstage, timeout=120)
    found = json.loads(run(driver, "explain", volume, "-o", "json"))
    assert (found["volume"]["id"], found["host"]["stage"], found["unseen"]) == (volume, "", {})


def test_a_repair_while_another_process_starts_is_refused(start: Start, tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    driver = start("--mode", "node")
    until((driver.state_dir / "admin.sock").exists, driver)
    assert "is in use by process" in run(driver, "orphans", "fix", "half", code=2)


def test_a_modification_is_forgotten_through_the_running_driver(start: Start, tmp_path: Path) -> None:
    half_made(tmp_path / "state")
    store = open_store("sql", state_dir=tmp_path / "state")
    store.remove(store.get(Volume, "half"))
    unfinished = Modification(wanted=VolumeType(qos_specs={"a": "2"}))
    store.add(Volume(id="whole", backend="quick", size=GiB(1), status=Status.AVAILABLE, modification=unfinished))
    store.close()
    driver = start("--mode", "controller", config=config(QUICK))
    driver.wait_until_ready()
    told = run(driver, "orphans", "forget", "whole", "--modification")
    assert told == "forgotten: the modification of volume 'whole' on back end 'quick'; it has its former properties\n"
    assert rows(driver, "get", "orphans") == []
    assert [row["id"] for row in rows(driver, "get", "volumes")] == ["whole"]
