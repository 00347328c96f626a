"""Ember-CSI's custom resources, which real cinderlib 3.1 has written, become records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.cli import main
from csi_cinderlib.model.records import Provider, VolumeType
from tests.component.adoption.databases import RECORDED, contents, volumes
from tests.support.api_server import serving

RESOURCES = RECORDED / "ember-3.1.0.json"
Capture = pytest.CaptureFixture[str]


def adopt(target: Path, *arguments: str) -> int:
    return main(["adopt", "ember", *arguments, "--into", f"sqlite:///{target}", "--write"])


def items() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RESOURCES.read_text())["items"]
    return found


def check(target: Path) -> None:
    found, snapshots, attachments, key_values = contents(target)
    by_name = {volume.name: volume for volume in found}
    typed, plain = by_name["typed"], by_name["plain"]
    assert len(found) == 6
    assert typed.type == VolumeType(extra_specs={"thin": "<is> True"}, qos_specs={"total_iops_sec": "100"})
    assert plain.provider == Provider(
        location=f"192.0.2.9:3260,1 iqn.2010-10.org.example:volume-{plain.id}",
        auth="CHAP user-plain secret",
        id="array-plain",
    )
    assert (plain.host.partition("@")[2], plain.backend) == ("array1#p1", "array1")
    assert not any(volume.began_empty or volume.blank for volume in found), "so no node formats one"
    assert [(snapshot.name, snapshot.volume_id, snapshot.backend) for snapshot in snapshots] == [
        ("snapshot of plain", plain.id, "array1")
    ]
    assert {attachment.node_id for attachment in attachments} == {"node1"}
    assert all(attachment.connection_info["driver_volume_type"] == "iscsi" for attachment in attachments)
    assert [key_value.id for key_value in key_values] == ["node1"]


def test_a_file_of_kubectl_is_adopted(tmp_path: Path) -> None:
    assert adopt(tmp_path / "new.db", str(RESOURCES)) == 0
    check(tmp_path / "new.db")


def test_yaml_with_several_documents_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*items(), {"kind": "Volume", "apiVersion": "v1"}]))
    assert adopt(tmp_path / "new.db", str(tmp_path / "all.yaml")) == 0
    check(tmp_path / "new.db")


def test_a_cluster_is_read_page_by_page_and_only_read(tmp_path: Path) -> None:
    with serving() as server:
        for kind in ("Volume", "Snapshot", "Connection", "KeyValue"):
            path = f"/apis/ember-csi.io/v1/namespaces/ember/{kind.lower()}s"
            server.lists[path] = [item for item in items() if item["kind"] == kind]
        server.lists[path] += [_key_value(number) for number in range(1001)]
        config = server.kubeconfig(tmp_path / "kubeconfig")
        assert adopt(tmp_path / "new.db", "--kubeconfig", str(config), "--namespace", "ember") == 0
        assert {method for method, _ in server.asked} == {"GET"}
        assert [asked for _, asked in server.asked].count(path) == 3
    assert len(contents(tmp_path / "new.db")[3]) == 1002


def _key_value(number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"key-{number}", "annotations": {"value": str(number)}}}


def test_a_namespace_without_objects_is_named(tmp_path: Path, capsys: Capture) -> None:
    with serving() as server:
        config = server.kubeconfig(tmp_path / "kubeconfig")
        assert adopt(tmp_path / "new.db", "--kubeconfig", str(config)) == 2
    assert "--namespace: namespace 'default' has no objects of ember-csi.io" in capsys.readouterr().err


def test_the_key_that_this_program_adds_to_the_objects_of_a_plugin_is_not_adopted(tmp_path: Path) -> None:
    changed = items()
    for item in changed:
        if item["kind"] != "KeyValue":
            _add_key(item)
    (tmp_path / "all.json").write_text(json.dumps({"items": changed}))
    assert adopt(tmp_path / "new.db", str(tmp_path / "all.json")) == 0
    found, snapshots, attachments, _ = contents(tmp_path / "new.db")
    kept = [*(one.admin_metadata for one in found), *(one.metadata for one in snapshots)]
    assert {key for one in kept for key in one} & {"csi-cinderlib", "other"} == {"other"}
    assert not any("csi-cinderlib" in attachment.connection_info for attachment in attachments)
    check(tmp_path / "new.db")


def _add_key(item: dict[str, Any]) -> None:
    content = json.loads(item["metadata"]["annotations"]["json"])
    data = content["ovo"]["versioned_object.data"]
    place = {"Volume": "admin_metadata", "Snapshot": "metadata", "Connection": "connection_info"}[item["kind"]]
    data[place] = {**(data.get(place) or {}), "csi-cinderlib": "{}"}
    if item["kind"] != "Connection":
        data[place]["other"] = "kept"
    item["metadata"]["annotations"]["json"] = json.dumps(content)


def test_objects_that_say_they_are_deleted_are_left_out(tmp_path: Path, capsys: Capture) -> None:
    changed = items()
    annotations = next(item for item in changed if "failed extension" in str(item))["metadata"]["annotations"]
    annotations["json"] = annotations["json"].replace('"status":"error"', '"status":"deleted"')
    (tmp_path / "all.json").write_text(json.dumps({"items": changed}))
    assert adopt(tmp_path / "new.db", str(tmp_path / "all.json")) == 0
    assert "failed extension" not in volumes(tmp_path / "new.db")
    assert "deleted there, left out: 1 Volume" in capsys.readouterr().out


def test_damaged_objects_are_named_without_their_content(tmp_path: Path, capsys: Capture) -> None:
    damaged = items()
    volume, other = [item for item in damaged if item["kind"] == "Volume"][:2]
    volume["metadata"]["annotations"]["json"] = '{"auth": "secret'
    other["metadata"]["annotations"] = {}
    (tmp_path / "all.json").write_text(json.dumps({"items": damaged}))
    assert adopt(tmp_path / "new.db", str(tmp_path / "all.json")) == 1
    printed = capsys.readouterr().err
    assert f"Volume {volume['metadata']['name']} metadata.annotations.json: is not valid JSON" in printed
    assert f"Volume {other['metadata']['name']} metadata.annotations.json: is missing" in printed
    assert "secret" not in printed
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: List\nitems: []\n", "FILE: contains no objects of ember-csi.io"),
        ("a: [", "line 2 is not YAML or JSON"),
    ],
)
def test_another_file_is_refused(text: str, message: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert adopt(tmp_path / "new.db", str(tmp_path / "other.yaml")) == 2
    assert message in capsys.readouterr().err


def test_files_and_a_cluster_cannot_be_combined(tmp_path: Path, capsys: Capture) -> None:
    assert adopt(tmp_path / "new.db", str(RESOURCES), "--namespace", "ember") == 2
    assert "FILE: cannot be combined with --kubeconfig or --namespace" in capsys.readouterr().err
    assert not volumes_exist(tmp_path / "new.db")


def volumes_exist(target: Path) -> bool:
    return target.exists() and bool(volumes(target))


def test_one_back_end_name_in_two_namespaces_is_refused(tmp_path: Path, capsys: Capture) -> None:
    """Two installations of Ember-CSI, each with an array of its own."""
    found = items()
    next(item for item in found if item["kind"] == "Volume")["metadata"]["namespace"] = "other"
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(found))
    assert adopt(tmp_path / "new.db", str(tmp_path / "all.yaml"), "--skip-problems") == 2
    printed = capsys.readouterr().err
    assert "the namespaces ember, other have volumes of a back end 'array1', which may be different storage" in printed
    assert not (tmp_path / "new.db").exists()
