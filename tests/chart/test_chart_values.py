"""Wrong values are refused before anything is installed, and the message names the key."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.csi.requests.parameters import STORAGE_CLASS
from csi_cinderlib.model.requests import SIDECARS
from scripts.generate import chart
from tests.chart.conftest import Json, Refused, Render, objects, one, pod

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
WRONG: tuple[tuple[Json, str], ...] = (
    ({"controler": {}}, "'controler' not allowed"),
    ({"controller": {"replicas": 2}}, "at '/controller': additional properties 'replicas'"),
    ({"controller": {"replicaCount": "two"}}, "/controller/replicaCount"),
    ({"controller": {"replicaCount": -1}}, "/controller/replicaCount"),
    ({"controller": {"workers": 0}}, "/controller/workers"),
    ({"controller": {"image": "mine"}}, "/controller/image"),
    ({"controller": {"image": {"pullPolicy": "Sometimes"}}}, "/controller/image/pullPolicy"),
    ({"controller": {"env": {"A": "b"}}}, "/controller/env"),
    ({"controller": {"healthPort": 70000}}, "/controller/healthPort"),
    ({"controller": {"privileged": "yes"}}, "/controller/privileged"),
    ({"controller": {"updateStrategy": {"type": "OnDelete"}}}, "/controller/updateStrategy/type"),
    ({"node": {"updateStrategy": {"type": "Recreate"}}}, "/node/updateStrategy/type"),
    ({"node": {"maxVolumes": -1}}, "/node/maxVolumes"),
    ({"node": {"topologyLabels": "zone"}}, "/node/topologyLabels"),
    ({"node": {"privileged": True}}, "'privileged' not allowed"),
    ({"node": {"hostNetwork": "no"}}, "/node/hostNetwork"),
    ({"node": {"image": {"digest": "sha256:abc"}}}, "/node/image/digest"),
    ({"sidecars": {"attacher": {"image": {"digest": "a" * 64}}}}, "/sidecars/attacher/image/digest"),
    ({"metrics": {"hostAddress": "0.0.0.0"}}, "/metrics/hostAddress"),
    ({"metrics": {"tokenSecret": "t"}}, "metrics.tokenSecret: without TLS the token is sent in plain text"),
    ({"multipath": True, "node": {"hostPID": False}}, "multipath: the host's multipathd can be reached only"),
    ({"driverName": "csi_cinderlib"}, "/driverName"),
    ({"driverName": "a" * 64}, "/driverName"),
    ({"kubeletPath": "var/lib/kubelet"}, "/kubeletPath"),
    ({"kubeletPath": "/var/lib/kubelet/"}, "/kubeletPath"),
    ({"backends": {"a": {}}}, "at '/backends/a': missing property 'driver'"),
    ({"backends": {"a": {"driver": "Pure"}}}, "/backends/a/driver"),
    ({"backends": {"a": {"driver": "x.Y", "option": {}}}}, "'option' not allowed"),
    ({"backends": {"DEFAULT": {"driver": "x.Y"}}}, "DEFAULT"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"san_password": 5349}}}}, "/backends/a/options/san_password"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"san_password": True}}}}, "/backends/a/options/san_password"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"san-password": 5}}}}, "/backends/a/options/san-password"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"san_api_port": True}}}}, "/backends/a/options/san_api_port"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"san_thin_provision": 1}}}}, "/options/san_thin_provision"),
    ({"backends": {"a": {"driver": "x.Y", "options": {"replication_device": [{"key": 5}]}}}}, "/replication_device/0/key"),
    ({"backendSecrets": ["a", "a"]}, "/backendSecrets"),
    ({"localBackend": {"path": "volumes"}}, "/localBackend/path"),
    ({"store": "postgresql+psycopg://user:password@host/db"}, "/store"),
    ({"logging": {"level": "verbose"}}, "/logging/level"),
    ({"volumeTypes": {"gold": {"qos_specs": {"maxIOPS": 500}}}}, "/volumeTypes/gold/qos_specs/maxIOPS"),
    ({"volumeTypes": {"gold": {"extraSpecs": {}}}}, "'extraSpecs' not allowed"),
    ({"storageClasses": [{}]}, "at '/storageClasses/0': missing property 'name'"),
    ({"storageClasses": [{"name": "a", "reclaim": "Retain"}]}, "'reclaim' not allowed"),
    ({"storageClasses": [{"name": "a", "reclaimPolicy": "Recycle"}]}, "/storageClasses/0/reclaimPolicy"),
    ({"storageClasses": [{"name": "a", "parameters": {"fstype": "xfs"}}]}, 'storageClasses[0].parameters: unknown parameter "fstype"'),
    ({"volumeSnapshotClasses": [{"name": "a", "deletionPolicy": "Keep"}]}, "/volumeSnapshotClasses/0/deletionPolicy"),
    ({"csiDriver": {"fsGroupPolicy": "Always"}}, "/csiDriver/fsGroupPolicy"),
    ({"metrics": {"port": 9810}}, "'port' not allowed"),
    ({"metrics": {"serviceMonitor": {"interval": 30}}}, "/metrics/serviceMonitor/interval"),
    ({"sidecars": {"provisioner": {"enabled": False}}}, "/sidecars/provisioner"),
    ({"sidecars": {"attacher": {"logLevel": "debug"}}}, "/sidecars/attacher/logLevel"),
    ({"sidecars": {"resizer": {"image": {"tag": ""}}}}, "/sidecars/resizer/image/tag"),
    ({"sidecars": {"snapshotter": {"image": {"tag": ""}}}}, "/sidecars/snapshotter/image/tag"),
    ({"sidecars": {"livenessProbe": {"image": {"tag": ""}}}}, "/sidecars/livenessProbe/image/tag"),
    ({"localBackend": {"enabled": False}}, "no back end is configured"),
    ({"localBackend": {"node": "n1", "shared": True}}, "localBackend.node and localBackend.shared"),
    ({"backends": {"local": {"driver": "x.Y"}}}, "backends.local: the local back end has the same name"),
    ({"backendObjects": {"specs": {"local": {"driver": "x.Y"}}}}, "backendObjects.specs.local: backends or localBackend has"),
    ({"backendObjects": {"specs": {"a": {"driver": "x.Y", "optoins": {}}}}}, "'optoins' not allowed"),
    ({"backendObjects": {"specs": {"A": {"driver": "x.Y"}}}}, "invalid propertyName 'A'"),
    ({"backendObjects": {"specs": {"a": {"driver": "x.Y", "options": {"san_ip": 5}}}}}, "/backendObjects/specs/a/options/san_ip"),
    ({"backendObjects": {"specs": {"a": {"driver": "cinder.volume.drivers.lvm.LVMVolumeDriver"}}}}, "backendObjects.specs.a: cinder.volume"),
    ({"backendObjects": {"specs": {"a": {"driver": "x.Y", "options": {"pure_api_token": "x"}}}}}, "backendObjects.specs.a.options.pure_api_token: holds a password"),
    ({"backendObjects": {"specs": {"a": {"driver": "x.Y", "options": {"San-Password": "x"}}}}}, "backendObjects.specs.a.options.San-Password: holds a password"),
    ({"controller": {"healthPort": 9810}}, "controller.healthPort and controller.metricsPort"),
    ({"node": {"healthPort": 9820}}, "node.healthPort, node.metricsPort"),
    ({"controller": {"privileged": True}, "node": {"metricsPort": 9810}}, "node.healthPort, node.metricsPort"),
    ({"kubeletPath": "/" + "k" * 80}, "kubeletPath and driverName"),
    ({"controller": {"privileged": True, "replicaCount": 2}, "localBackend": {"node": "n1"}}, "controller.replicaCount: privileged"),
    ({"controller": {"replicaCount": 2}, "sidecars": {"livenessProbe": {"enabled": True}}}, "official livenessprobe would kill"),
    ({"localBackend": {"path": "/var/lib/csi-cinderlib/state"}}, "localBackend.path: /var/lib/csi-cinderlib/state is"),
    ({"localBackend": {"path": "/var/lib/csi-cinderlib/state/a"}}, "is in /var/lib/csi-cinderlib/state, which the driver's pods use"),
    ({"localBackend": {"path": "/var/lib/csi-cinderlib/a/../state"}}, "is in /var/lib/csi-cinderlib/state,"),
    ({"localBackend": {"path": "/var/lib/csi-cinderlib/csi.cinderlib.io"}}, "is in /var/lib/csi-cinderlib/csi.cinderlib.io,"),
    ({"localBackend": {"path": "/var/lib/kubelet/volumes"}}, "is in /var/lib/kubelet,"),
    ({"kubeletPath": "/srv/kubelet", "localBackend": {"path": "/srv/kubelet/volumes"}}, "is in /srv/kubelet,"),
    ({"customLabels": {"app.kubernetes.io/name": "a"}}, "customLabels: app.kubernetes.io/name is set by the chart"),
    ({"controller": {"podLabels": {"app.kubernetes.io/component": "a"}}}, "controller.podLabels: app.kubernetes.io/component is set by the chart"),
    ({"customLabels": {"a": "b"}, "node": {"podLabels": {"a": "c"}}}, "node.podLabels: a is set by customLabels"),
    ({"controller": {"podAnnotations": {"checksum/config": "a"}}}, "controller.podAnnotations: checksum/config is set by the chart"),
    ({"node": {"podAnnotations": {"checksum/config": "a"}}}, "node.podAnnotations: checksum/config"),
    ({"controller": {"nodeSelector": {"kubernetes.io/os": "windows"}}}, "controller.nodeSelector: kubernetes.io/os must be linux"),
    ({"storageClasses": [{"name": "a"}, {"name": "b", "labels": {"helm.sh/chart": "a"}}]}, "storageClasses[1].labels: helm.sh/chart"),
    ({"storageClasses": [{"name": "a", "default": True, "annotations": {DEFAULT_CLASS: "false"}}]}, f"storageClasses[0].annotations: {DEFAULT_CLASS} is set by default"),
    ({"customLabels": {"a": "b"}, "volumeSnapshotClasses": [{"name": "a", "labels": {"a": "b"}}]}, "volumeSnapshotClasses[0].labels: a is set by customLabels"),
    ({"metrics": {"serviceMonitor": {"labels": {"app.kubernetes.io/instance": "a"}}}}, "metrics.serviceMonitor.labels: app.kubernetes.io/instance"),
)  # fmt: skip


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_refused_by_name(values: Json, message: str, render: Render) -> None:
    with pytest.raises(Refused) as refused:
        render(values)
    assert message in str(refused.value)


def test_what_is_next_to_the_refused_is_taken(render: Render) -> None:
    objects = render(
        {
            "localBackend": {"path": "/var/lib/kubelet-volumes", "node": "n1"},
            "controller": {"replicaCount": 2, "nodeSelector": {"kubernetes.io/os": "linux", "a": "b"}},
            "storageClasses": [{"name": "a", "annotations": {DEFAULT_CLASS: "false"}}],
        }
    )
    assert pod(objects, "controller")["nodeSelector"] == {"kubernetes.io/os": "linux", "a": "b"}
    assert one(objects, "StorageClass")["metadata"]["annotations"] == {DEFAULT_CLASS: "false"}


def test_a_key_that_is_there_twice_does_not_escape_these_tests() -> None:
    with pytest.raises(yaml.constructor.ConstructorError, match="'a' is there twice"):
        objects("b: {a: 1, c: 2, a: 3}")


@pytest.mark.parametrize(
    ("driver", "options", "reason"),
    [
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", None, "uses devices or mounts"),
        ("cinder.volume.drivers.nfs.NfsDriver", {}, "uses devices or mounts"),
        ("example.Driver", {"target_helper": "lioadm"}, "target_helper: lioadm"),
        ("cinder.volume.drivers.netapp.common.NetAppDriver", {"netapp_storage_protocol": "NFS"}, "mounts NFS shares"),
    ],
)
def test_a_driver_that_needs_the_host_needs_a_privileged_controller(
    driver: str, options: Json | None, reason: str, render: Render
) -> None:
    values = {"backends": {"disks": {"driver": driver, "options": options}}}
    with pytest.raises(Refused) as refused:
        render(values)
    assert "backends.disks" in str(refused.value)
    assert reason in str(refused.value)
    assert "controller.privileged=true" in str(refused.value)
    assert render({**values, "controller": {"privileged": True}})


def test_drivers_that_use_the_host_are_known_to_the_chart() -> None:
    """All that Cinder registers and that derive, over however many classes, from its drivers of shares and of LVM."""
    known = (chart.CHART / "templates/_checks.tpl").read_text()
    bases, registered = _driver_classes()

    def uses_host(name: str) -> bool:
        return name in {"RemoteFSDriver", "LVMVolumeDriver", "GPFSDriver"} or any(map(uses_host, bases.get(name, ())))

    needed = [path for path in registered if uses_host(path.rpartition(".")[2])]
    assert "cinder.volume.drivers.nfs.NfsDriver" in needed
    remote = "cinder.volume.drivers.ibm.gpfs.GPFSRemoteDriver"  # it works on another machine, by SSH
    assert [path for path in needed if f'"{path}"' not in known] == [remote]


def _driver_classes() -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Read from the sources, for importing all takes ten seconds: each class's bases by name, and the registered drivers' paths."""
    spec = importlib.util.find_spec("cinder")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    bases, registered = {}, []
    for file in (root / "volume/drivers").rglob("*.py"):
        module = ".".join(("cinder", *file.relative_to(root).with_suffix("").parts))
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                if any("interface.volumedriver" in ast.unparse(mark) for mark in node.decorator_list):
                    registered.append(f"{module}.{node.name}")
    return bases, registered


def test_options_are_text_or_what_their_type_says(render: Render) -> None:
    options: Json = {
        "san_password": "012345",
        "san-api-port": 443,
        "san_api_port": "443",
        "san_thin_provision": True,
        "vmware_task_poll_interval": 1.5,
        "replication_device": [{"backend_id": "b", "san_password": {"file": "/run/secrets/x"}}],
        "chap_password": {"env": "X"},
        "ssh_conn_timeout": {"env": "X"},
    }
    assert render({"backends": {"a": {"driver": "x.Y", "options": options}}})


def test_the_schema_of_options_is_up_to_date() -> None:
    assert chart.schema() == (chart.CHART / "values.schema.json").read_text(), "run `make chart`"


def test_the_schema_has_exactly_the_keys_of_the_values() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert sorted(_schema_keys(schema, schema["$defs"])) == sorted(_value_keys(values))


def _schema_keys(schema: Json, shared: Json, path: str = "") -> list[str]:
    if "$ref" in schema:
        schema = shared[schema["$ref"].rpartition("/")[2]]
    if path.endswith(("resources", "updateStrategy")):
        return [path]
    found = []
    for key, inner in schema.get("properties", {}).items():
        found += _schema_keys(inner, shared, f"{path}.{key}")
    return found or ([] if path == ".global" else [path])


def _value_keys(values: Any, path: str = "") -> list[str]:
    whole = path.endswith(("resources", "updateStrategy")) or not isinstance(values, dict) or not values
    return [path] if whole else [key for name in values for key in _value_keys(values[name], f"{path}.{name}")]


def test_parameters_of_storage_classes_are_those_that_the_program_takes(render: Render) -> None:
    parameters = {item.key + ("x" if item.is_prefix else ""): "1" for item in STORAGE_CLASS}
    assert render({"storageClasses": [{"name": "all", "parameters": parameters}]})
    with pytest.raises(Refused) as refused:
        render({"storageClasses": [{"name": "all", "parameters": {"x": "1"}}]})
    for item in STORAGE_CLASS:
        assert item.key in str(refused.value)
    assert render({"storageClasses": [{"name": "a", "parameters": {f"{SIDECARS}node-stage-secret-name": "s"}}]})


def test_the_readme_says_what_the_values_say() -> None:
    assert (chart.CHART / "README.md").read_text() == chart.readme(), "run `make chart`"
