"""The command makes the PersistentVolume and the claim of an imported volume on a real API server, and removes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import cli
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from tests.cluster.bed.custom_resources import Namespace
from tests.cluster.bed.protection import protecting

pytestmark = pytest.mark.cluster

LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    with (directory / "disk.img").open("wb") as file:
        file.truncate(2 * BYTES_PER_GIB)
    return directory


@pytest.fixture
def driver(tmp_path: Path, files: Path, namespace: Namespace) -> Iterator[DriverProcess]:
    state = tmp_path / "state"
    state.mkdir()
    options = {"loopfile_directories": [f"one:{files}"], "max_over_subscription_ratio": 1000}
    back_end = {"driver": LOOP_FILE, "options": options, "topology": {"example.com/zone": "z1"}}
    (state / "config.yaml").write_text(json.dumps({"backends": {"local": back_end}}))
    process = DriverProcess(state, ("--config", str(state / "config.yaml"), "--mode", "controller"))
    process.wait_until_ready()
    with protecting(namespace.server.admin, namespace.name):
        yield process
    process.stop()


@pytest.fixture
def imports(driver: DriverProcess, namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command as the account of the controller; `as_admin` without limits."""

    def run(*words: str, as_admin: bool = True) -> int:
        admin = namespace.folder / "admin.kubeconfig"
        if not admin.exists():
            namespace.server.write_kubeconfig(admin, namespace.server.admin_token)
        monkeypatch.setenv("KUBECONFIG", str(admin if as_admin else namespace.kubeconfigs["controller"]))
        config = str(driver.state_dir / "config.yaml")
        return cli.main(["import-volume", "local", *words, "--config", config, "--state-dir", str(driver.state_dir)])

    return run


def claims(namespace: Namespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = namespace.server.admin.get(
        f"/api/v1/namespaces/{namespace.name}/persistentvolumeclaims"
    )["items"]
    return found


def made(namespace: Namespace) -> list[dict[str, Any]]:
    """The PersistentVolumes for claims of the namespace."""
    found = namespace.server.admin.get(VOLUMES)["items"]
    return [item for item in found if item["spec"].get("claimRef", {}).get("namespace") == namespace.name]


def test_a_volume_gets_a_persistent_volume_reserved_for_its_claim(
    imports: Any, namespace: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = ("disk.img", "--claim", f"{namespace.name}/db", "--storage-class", "standard")
    assert imports(*claim, "--dry-run") == 0
    assert (made(namespace), claims(namespace)) == ([], [])
    assert imports(*claim) == 0
    assert imports(*claim) == 0, "it can be repeated"
    ((volume,), (bound,)) = made(namespace), claims(namespace)
    spec = volume["spec"]
    assert (spec["capacity"], spec["accessModes"], spec["volumeMode"]) == (
        {"storage": "2Gi"},
        ["ReadWriteOnce"],
        "Filesystem",
    )
    assert (spec["storageClassName"], spec["persistentVolumeReclaimPolicy"]) == ("standard", "Retain")
    assert spec["csi"]["volumeAttributes"] == {"backend": "local", "pool": "one"}
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "example.com/zone", "operator": "In", "values": ["z1"]}]
    assert bound["spec"]["volumeName"] == volume["metadata"]["name"] == f"imported-{spec['csi']['volumeHandle']}"
    assert bound["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    capsys.readouterr()
    assert imports("disk.img", "--undo") == 0
    assert f"removed: PersistentVolumeClaim {namespace.name}/db" in capsys.readouterr().err
    assert (claims(namespace), made(namespace)) == ([], [])


@pytest.mark.parametrize("more", [(), ("--storage-class", "standard"), ("--access-mode", "ReadWriteOncePod")], ids=str)
def test_a_command_can_be_repeated(imports: Any, namespace: Namespace, more: tuple[str, ...]) -> None:
    """The server leaves out an empty class. An administrator has changed the policy meanwhile."""
    claim = ("disk.img", "--claim", f"{namespace.name}/db", "--reclaim-policy", "Delete", *more)
    assert imports(*claim) == 0
    ((volume,), (bound,)) = made(namespace), claims(namespace)
    policy = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
    namespace.server.admin.merge(f"{VOLUMES}/{volume['metadata']['name']}", policy)
    for words in (claim, (*claim, "--dry-run"), claim):
        assert imports(*words) == 0
    assert [item["metadata"]["uid"] for item in (*made(namespace), *claims(namespace))] == [
        volume["metadata"]["uid"],
        bound["metadata"]["uid"],
    ]
    assert imports("disk.img", "--undo") == 0
    assert (claims(namespace), made(namespace)) == ([], [])


def test_an_undo_beside_another_installation_removes_nothing_of_it(
    imports: Any, namespace: Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has a back end of the same name, and has imported and given up a file of the same name."""
    assert imports("disk.img", "--claim", f"{namespace.name}/db", "--reclaim-policy", "Delete") == 0
    ((volume,), (bound,)) = made(namespace), claims(namespace)
    elsewhere, state = tmp_path / "elsewhere", tmp_path / "other state"
    for made_here in (elsewhere, state):
        made_here.mkdir()
    with (elsewhere / "disk.img").open("wb") as file:
        file.truncate(BYTES_PER_GIB)
    options = {"loopfile_directories": [f"one:{elsewhere}"], "max_over_subscription_ratio": 1000}
    config = {"driver_name": "other.example", "backends": {"local": {"driver": LOOP_FILE, "options": options}}}
    (state / "config.yaml").write_text(json.dumps(config))
    given = ("--config", str(state / "config.yaml"), "--state-dir", str(state))
    other = DriverProcess(state, ("--config", str(state / "config.yaml"), "--mode", "controller"))
    try:
        other.wait_until_ready()
        assert cli.main(["import-volume", "local", "disk.img", "--undo", *given]) == 2
        assert "was not imported" in capsys.readouterr().err
        assert cli.main(["import-volume", "local", "disk.img", *given]) == 0
        assert cli.main(["import-volume", "local", "disk.img", "--undo", *given]) == 0
    finally:
        other.stop()
    assert (made(namespace), claims(namespace)) == ([volume], [bound])
    assert imports("disk.img", "--undo") == 0


def test_an_existing_claim_is_used_if_it_fits(
    imports: Any, namespace: Namespace, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/api/v1/namespaces/{namespace.name}/persistentvolumeclaims"
    spec = {"storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}
    own = namespace.server.admin.post(path, {"metadata": {"name": "large"}, "spec": spec})
    assert own["metadata"]["uid"]
    assert imports("disk.img", "--claim", f"{namespace.name}/large") == 1
    assert "it requests 3Gi, and the volume has 2Gi" in capsys.readouterr().err
    assert (files / "disk.img").exists(), "nothing was imported"
    spec["resources"] = {"requests": {"storage": "1Gi"}}
    fitting = namespace.server.admin.post(path, {"metadata": {"name": "fitting"}, "spec": spec})
    assert imports("disk.img", "--claim", f"{namespace.name}/fitting") == 0
    (volume,) = made(namespace)
    assert volume["spec"]["claimRef"]["uid"] == fitting["metadata"]["uid"]
    assert imports("disk.img", "--undo") == 1
    assert f"(of {namespace.name}/fitting) still exists; nothing was given up" in capsys.readouterr().err
    left = {item["metadata"]["name"] for item in claims(namespace) if not item["metadata"].get("deletionTimestamp")}
    assert left == {"large", "fitting"}, "claims of others are kept"
    namespace.server.admin.delete(f"{path}/fitting")
    assert imports("disk.img", "--undo") == 0
    assert (files / "disk.img").exists()


def test_a_claim_that_is_being_deleted_is_not_used(
    imports: Any, namespace: Namespace, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/api/v1/namespaces/{namespace.name}/persistentvolumeclaims"
    spec = {"storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "going", "finalizers": ["example.com/kept"]}
    namespace.server.admin.post(path, {"metadata": metadata, "spec": spec})
    namespace.server.admin.delete(f"{path}/going")
    assert imports("disk.img", "--claim", f"{namespace.name}/going") == 1
    assert "it is being deleted; wait until it is gone" in capsys.readouterr().err
    assert (files / "disk.img").exists(), "nothing was imported"


def test_a_missing_right_or_namespace_is_named_before_anything_is_imported(
    imports: Any, namespace: Namespace, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imports("disk.img", "--claim", f"{namespace.name}/db", as_admin=False) == 1
    assert "forbidden" in capsys.readouterr().err
    assert imports("disk.img", "--claim", "nowhere/db") == 1
    assert "nowhere" in capsys.readouterr().err
    assert (files / "disk.img").exists()
    with pytest.raises(ApiError):
        namespace.server.admin.get("/api/v1/namespaces/nowhere")
