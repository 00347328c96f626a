"""`get`, `describe` and `explain` as sessions: what an operator types and reads."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib import cli
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.plugins import open_store
from tests.support.api_server import ApiServer, serving

from .test_stored import ATTACHMENT, HALF, SNAPSHOT, VOLUME


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = open_store("sql", state_dir=tmp_path / "state")
    store.add(VOLUME)
    store.add(HALF)
    store.add(SNAPSHOT)
    store.add(ATTACHMENT)
    store.close()
    return tmp_path / "state"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster with the claim of `v1`, which a pod on another node wants."""
    with serving() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "kubeconfig")))
        core = "/api/v1/namespaces/shop"
        resources = {"requests": {"storage": "3Gi"}}
        api.objects |= {
            f"{core}/persistentvolumeclaims/data": {
                "metadata": {"name": "data"},
                "spec": {"volumeName": "pvc-1", "storageClassName": "gold", "resources": resources},
                "status": {"phase": "Bound"},
            },
            "/api/v1/persistentvolumes/pvc-1": {
                "metadata": {"name": "pvc-1"},
                "spec": {
                    "csi": {"driver": "csi.cinderlib.io", "volumeHandle": "v1"},
                    "claimRef": {"namespace": "shop", "name": "data"},
                },
                "status": {"phase": "Bound"},
            },
        }
        used = [{"persistentVolumeClaim": {"claimName": "data"}}]
        warning = {"involvedObject": {"name": "web-0"}, "message": "Multi-Attach error", "lastTimestamp": "2026-01-01"}
        api.lists |= {
            f"{core}/pods": [{"metadata": {"name": "web-0"}, "spec": {"nodeName": "node-2", "volumes": used}}],
            f"{core}/events": [warning],
            "/apis/storage.k8s.io/v1/volumeattachments": [],
        }
        yield api


def run(state: Path, line: str, code: int = 0) -> None:
    assert cli.main([*line.split(), "--state-dir", str(state)]) == code


SEEN = """\
shop/data
├─ claim shop/data: Bound, 3Gi
│  ├─ pod web-0 on node-2
│  └─ event: Multi-Attach error
├─ PersistentVolume pvc-1: Bound
└─ volume v1: available, 3 GiB, *d old
   ├─ back end local: state unknown
   ├─ object volume-v1: pool p
   ├─ attachment node-1 (a1): available, *d, node not registered
   └─ snapshots: 1
not examined: host: this host is not a node of the driver; run the command on the node to examine the device and mounts
not examined: back end: no driver is running with state directory STATE; start one, or select another directory with --config or --state-dir

Node node-1 is not registered, but the volume is attached to it.
  What to do: Start the driver's node plugin there. If the node is gone for good, delete its Node object; Kubernetes then detaches the volume.
"""


@pytest.mark.parametrize("asked", ["shop/data", "pvc-1", "v1"])
def test_a_volume_is_explained_from_each_of_its_names(
    state: Path, api: ApiServer, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(state, f"explain {asked}", code=1)
    told = re.sub(r"\b\d+d\b", "*d", capsys.readouterr().out).replace(str(state), "STATE")
    assert told == SEEN.replace("shop/data\n", f"{asked}\n", 1)
    assert {method for method, _ in api.asked} == {"GET"}


def test_a_claim_without_a_volume_is_explained_by_its_events(
    state: Path, api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.objects["/api/v1/namespaces/shop/persistentvolumeclaims/new"] = {
        "metadata": {"name": "new"},
        "spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "9Ti"}}},
        "status": {"phase": "Pending"},
    }
    message = "no pool has 9216 GiB free; the most is 812"
    api.lists["/api/v1/namespaces/shop/events"] = [{"involvedObject": {"name": "new"}, "message": message}]
    run(state, "explain shop/new", code=1)
    assert f"No pool has room for claim shop/new (9Ti): {message}.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("explain shop/none", "'shop/none': no claim, PersistentVolume or volume with this name was found"),
        ("explain v", "volume 'v': ambiguous; it matches:\n  v1  shop/data  available\n  v2  shop/more  creating"),
        ("describe volume v", "volume 'v': ambiguous; it matches:\n  v1  shop/data  pvc-1  available"),
        ("describe volume nope", "volume 'nope': not found by id, name or claim"),
        ("describe vol v1", "did you mean 'volume'?|is not one of"),
        ("get volumes nope", "get: volumes: no match by id, name or claim for nope"),
        ("get volumes --status lost", "is not one of"),
        ("get volumes --columns nope", "unknown column 'nope'"),
        ("get vols", "vols"),
        ("orphans fix", "name one or more ids, or use --all"),
        ("orphans fix v2 --all", "name one or more ids, or use --all"),
        ("orphans fix nope", "not found by id, name or claim"),
        ("orphans fix ''", "ID: must not be empty"),
    ],
)
def test_bad_input_is_exit_code_2_with_the_reason(
    state: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*shlex.split(line), "--state-dir", str(state)]) == 2
    error = capsys.readouterr().err
    assert any(part in error for part in message.split("|")), error


@pytest.mark.parametrize(
    "line",
    [
        "get volumes",
        "get backends",
        "get orphans",
        "get nodes",
        "describe volume v1",
        "explain v1",
        "export -",
        "orphans fix --all",
        "orphans forget v1",
        "orphans restored",
    ],
)
def test_without_a_store_every_command_fails_and_creates_none(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*line.split(), "--state-dir", str(tmp_path / "wrong")]) == 2
    assert f"no metadata store at {tmp_path}/wrong (looked for metadata.db)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_object_is_described_for_people_and_for_programs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(state, "describe volume shop/data")
    told = capsys.readouterr().out
    for line in ("id:          v1", "size gib:    3", "  pvc/name:      data", "Snapshots:", "  s1  name=snap"):
        assert line in told
    assert "geheim" not in told
    run(state, "describe volume v2 -o json")
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["related"]["orphans"][0]["fix"]) == ("volume", "undo the creation")
    for line in ("attachment a1", "snapshot s1", "node node-1", "orphan v2", "backend local"):
        run(state, f"describe {line} -o yaml")
        assert "kind: " in capsys.readouterr().out


def test_a_reader_that_goes_away_ends_a_list_quietly(state: Path) -> None:
    store = open_store("sql", state_dir=state)
    for number in range(3000):
        store.add(Volume(id=f"many-{number}", backend="local", size=VOLUME.size))
    store.close()
    program = f"{sys.executable} -m csi_cinderlib get volumes --state-dir {state} --namespace '' | head -1"
    done = subprocess.run(
        program, shell=True, capture_output=True, text=True, timeout=120, check=True
    )  # the pipe is what it is about
    assert (done.stdout.split()[0], "Traceback" in done.stderr, "Broken pipe" in done.stderr) == ("ID", False, False)


def test_nothing_of_a_repair_is_done_in_a_dry_run(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in state.iterdir()}
    run(state, "orphans fix --all --dry-run")
    assert capsys.readouterr().out.splitlines()[0] == "volume v2 (no space left): undo the creation"
    assert {path: path.stat().st_mtime_ns for path in state.iterdir()} == before
