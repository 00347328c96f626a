"""The examples are complete, valid, and use nothing that the driver does not know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from csi_cinderlib.config.objects import read
from csi_cinderlib.config.settings import DRIVER_NAME
from csi_cinderlib.csi.requests import parameters
from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION, definitions
from tests.chart.conftest import ROOT, Json, Render
from tools import lookup

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
VERSIONS = ("1.30", "1.33", "1.36")
SINCE = {"VolumeAttributesClass": "1.36"}
"""Kinds whose version in the examples the older ones lack; 1.34 has it first."""
OF_THE_PROVISIONER = re.compile(r"csi\.storage\.k8s\.io/[a-z-]+-secret-name(space)?$")
"""Parameters that the external-provisioner uses itself and does not pass to the driver."""
IMAGE = "busybox:1.37"
"""What a test replaces by an image of its own."""


def files(folder: str) -> list[Path]:
    """In the order in which they are applied."""
    return sorted(path for path in (EXAMPLES / folder).glob("*.yaml") if path.name != "values.yaml")


def objects(folder: str) -> list[Json]:
    return [item for path in files(folder) for item in yaml.safe_load_all(path.read_text())]


def pods(folder: str) -> Iterator[Json]:
    for item in objects(folder):
        if item["kind"] == "Pod":
            yield item["spec"]
        elif "template" in item.get("spec", {}):
            yield item["spec"]["template"]["spec"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_is_valid(folder: str) -> None:
    assert files(folder)
    for item in objects(folder):
        if "snapshot.storage" not in item["apiVersion"] and "cinderlib.io" not in item["apiVersion"]:
            for version in VERSIONS[VERSIONS.index(SINCE.get(item["kind"], VERSIONS[0])) :]:
                kubernetes_validate.validate(item, version, strict=True)


def test_objects_of_back_ends_are_valid() -> None:
    (definition,) = [item for item in definitions() if item["spec"]["names"]["kind"] == CONFIGURATION.kind]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found = [item for folder in FOLDERS for item in objects(folder) if item["kind"] == CONFIGURATION.kind]
    assert found
    for item in found:
        jsonschema.validate(item, schema)
        assert item["spec"].keys() <= schema["properties"]["spec"]["properties"].keys()
        read(item["metadata"]["name"], item["spec"], None)


def test_snapshot_objects_are_valid() -> None:
    schemas = {}
    for path in lookup.folder("snapshot-definitions").iterdir():
        definition = yaml.safe_load(path.read_text())["spec"]
        (served,) = [item for item in definition["versions"] if item["name"] == "v1"]
        schemas[definition["names"]["kind"]] = served["schema"]["openAPIV3Schema"]
    found = [item for folder in FOLDERS for item in objects(folder) if "snapshot.storage" in item["apiVersion"]]
    assert {item["kind"] for item in found} == {"VolumeSnapshotClass", "VolumeSnapshot"}
    for item in found:
        jsonschema.validate(item, schemas[item["kind"]])


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_stands_alone(folder: str) -> None:
    """Whatever an object refers to is in its folder, or made by the chart."""
    found = objects(folder)
    have = Counter((item["kind"], item["metadata"]["name"]) for item in found)
    classes = {"", "cinderlib"} | {name for kind, name in have if kind == "StorageClass"}
    assert all("namespace" not in item["metadata"] for item in found)
    for item in found:
        if item["kind"] == "PersistentVolumeClaim":
            assert item["spec"]["storageClassName"] in classes
            if source := item["spec"].get("dataSource"):
                assert (source["kind"], source["name"]) in have
    claims = {name for kind, name in have if kind == "PersistentVolumeClaim"}
    for pod in pods(folder):
        for volume in pod.get("volumes", ()):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in claims


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_workloads_run_a_plain_image(folder: str) -> None:
    found = list(pods(folder))
    assert found
    assert {container["image"] for pod in found for container in pod["containers"]} == {IMAGE}


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_classes_are_this_drivers_and_their_parameters_known(folder: str) -> None:
    for item in objects(folder):
        if item["kind"] == "StorageClass":
            assert item["provisioner"] == DRIVER_NAME
            given = {
                key: value for key, value in item.get("parameters", {}).items() if not OF_THE_PROVISIONER.match(key)
            }
            assert parameters.storage_class(given).labels == {}
        if item["kind"] == "VolumeSnapshotClass":
            assert item["driver"] == DRIVER_NAME
            assert parameters.snapshot_class(item.get("parameters", {})) == ({}, {})
        elif item["kind"] == "VolumeAttributesClass":
            assert item["driverName"] == DRIVER_NAME
            assert parameters.mutable(item["parameters"]) == item["parameters"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_readme_names_all_its_files_and_no_other(folder: str) -> None:
    said = (EXAMPLES / folder / "README.md").read_text()
    names = {path.name for path in (EXAMPLES / folder).glob("*.yaml")}
    assert set(re.findall(r"[\w-]+\.yaml", said)) == names
    assert said.startswith("# ")


@pytest.mark.parametrize("folder", [name for name in FOLDERS if (EXAMPLES / name / "values.yaml").exists()])
def test_its_values_are_values_of_the_chart(folder: str, render: Render) -> None:
    assert render(yaml.safe_load((EXAMPLES / folder / "values.yaml").read_text()))


def test_all_can_be_applied_side_by_side() -> None:
    """A claim's growth and a replica's files aside, no name is used twice."""
    where: dict[tuple[str, str], set[str]] = {}
    for folder in FOLDERS:
        for item in objects(folder):
            where.setdefault((item["kind"], item["metadata"]["name"]), set()).add(folder)
    assert {key: folders for key, folders in where.items() if len(folders) > 1} == {}


def test_the_list_is_complete() -> None:
    listed = re.findall(r"^\| .*", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"\]\(([\w-]+)\)", "\n".join(listed))) == FOLDERS
