"""The settings that the chart writes are settings that the program takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from csi_cinderlib.config import live, load
from csi_cinderlib.config.settings import Settings
from tests.chart.conftest import NAMES, Json, Render, container, one


def settings(objects: list[Json], role: str, tmp_path: Path) -> Settings:
    """As the program reads them in that pod, its files being in `tmp_path`."""
    kind, key = ("Secret", "stringData") if role == "controller" else ("ConfigMap", "data")
    text: str = one(objects, kind, f"-{role}")[key]["config.yaml"]
    for folder in ("sealing", "backends", "store"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "store/url").write_text("postgresql+psycopg://u:p@db/x")
    (tmp_path / "config.yaml").write_text(text.replace("/etc/csi-cinderlib", str(tmp_path)))
    options = dict(word.removeprefix("--").split("=") for word in container(objects, role)["args"][1:])
    environment = {"CINDERLIB_NODE_NAME": "node-1"} | {
        item["name"]: item.get("value", "node-1") for item in container(objects, role)["env"]
    }
    overrides = load.Overrides(mode=options["mode"])
    return load.load([tmp_path / "config.yaml"], environment=environment, overrides=overrides)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["controller", "node"])
def test_they_load(name: str, role: str, render: Render, tmp_path: Path) -> None:
    found = settings(render(name), role, tmp_path)
    assert found.mode == role
    assert found.kubernetes
    assert found.endpoint.endswith("/csi.sock")
    assert found.backends == ()


@pytest.mark.parametrize("name", NAMES)
def test_back_ends_of_the_values_are_read_from_the_directory(name: str, render: Render, tmp_path: Path) -> None:
    objects = render(name)
    (key, text) = next(iter(one(objects, "Secret", "-backends")["stringData"].items()))
    found = settings(objects, "controller", tmp_path)
    (tmp_path / "backends" / key).write_text(text)
    read = live.backends(found)
    assert read.broken == ()
    assert {item.name for item in read.backends} == set(yaml.safe_load(text))


def test_a_local_back_end_of_one_node_is_reached_from_there(render: Render, tmp_path: Path) -> None:
    objects = render("everything")
    controller, node = (settings(objects, role, tmp_path) for role in ("controller", "node"))
    (tmp_path / "backends/a.yaml").write_text(one(objects, "Secret", "-backends")["stringData"]["from-values.yaml"])
    local = next(item for item in live.backends(controller).backends if item.name == "files")
    assert local.topology == {"topology.storage.example.org/node": "node-1"} == node.topology
    assert node.topology_labels == ("topology.kubernetes.io/zone",)
    assert controller.max_volumes_per_node == node.max_volumes_per_node == 20


def test_figures_are_shown_in_the_pods_own_network_or_to_the_host_alone(render: Render, tmp_path: Path) -> None:
    def addresses(values: Json) -> list[str]:
        objects = render(values)
        return [settings(objects, role, tmp_path).metrics_address for role in ("controller", "node")]

    assert addresses({}) == [":9810", "127.0.0.1:9820"]
    assert addresses({"controller": {"privileged": True}}) == ["127.0.0.1:9810", "127.0.0.1:9820"]
    assert addresses({"node": {"hostNetwork": False}}) == [":9810", ":9820"]
    assert addresses({"metrics": {"hostAddress": "node"}}) == [":9810", "$(CINDERLIB_POD_ADDRESS):9820"]
    assert addresses({"metrics": {"enabled": False}}) == ["", ""]


def test_health_is_answered_to_the_kubelet_in_the_pods_own_network(render: Render, tmp_path: Path) -> None:
    assert settings(render("files-only"), "node", tmp_path).health_address == ":9821"


def test_certificate_and_token_of_the_figures_are_files_that_are_mounted(render: Render, tmp_path: Path) -> None:
    objects = render("everything")
    for role in ("controller", "node"):
        found = settings(objects, role, tmp_path)
        mounts = {item["name"]: item["mountPath"] for item in container(objects, role)["volumeMounts"]}
        assert found.metrics_certificate_file.endswith("/metrics-tls/tls.crt")
        assert found.metrics_key_file.endswith("/metrics-tls/tls.key")
        assert found.metrics_token_file.endswith("/metrics-token/token")
        assert mounts["metrics-tls"] == "/etc/csi-cinderlib/metrics-tls"
        assert mounts["metrics-token"] == "/etc/csi-cinderlib/metrics-token"


def test_options_of_cinder_itself_reach_the_controller(render: Render, tmp_path: Path) -> None:
    found = settings(render("everything"), "controller", tmp_path)
    assert found.cinder_defaults == {"volume_name_template": "os-%s", "my_ip": "192.0.2.10"}


def test_a_large_limit_is_a_whole_number(render: Render, tmp_path: Path) -> None:
    objects = render({"node": {"maxVolumes": 1_000_000}})
    for role in ("controller", "node"):
        assert settings(objects, role, tmp_path).max_volumes_per_node == 1_000_000


def test_the_database_url_comes_from_its_secret(render: Render, tmp_path: Path) -> None:
    found = settings(render("database"), "controller", tmp_path)
    assert found.store.plugin == "sql"
    assert found.store.options == {"url": "postgresql+psycopg://u:p@db/x"}


def test_the_official_containers_take_over_registration_and_health(render: Render, tmp_path: Path) -> None:
    own, official = (settings(render(name), "node", tmp_path) for name in ("default", "official-sidecars"))
    assert own.kubelet_registration == "/var/lib/kubelet/plugins_registry"
    assert own.kubelet_directory == official.kubelet_directory == "/var/lib/kubelet"
    assert own.health_address == "127.0.0.1:9821"
    assert official.kubelet_registration == official.health_address == ""
    assert settings(render("official-sidecars"), "controller", tmp_path).health_address == ""
