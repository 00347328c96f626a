"""PersistentVolumes and claims are made from a template, and no value of Cinder can change their structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.component.adoption.openstack.databases import FOLDER, Run, change, id_of

Capture = pytest.CaptureFixture[str]
EXAMPLE = FOLDER.parents[3] / "examples" / "adopted-volumes" / "template.yaml"
VOLUME = "{kind: PersistentVolume, metadata: {name: 'pv-${id}'}, spec: {csi: {volumeHandle: '${id}'}}}"


def made(run: Run, template: Path, capsys: Capture, *numbers: int) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert run.plan(*map(id_of, numbers), "--claims", str(template)) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "template.yaml"
    file.write_text(text)
    return file


def test_the_example_makes_a_volume_and_a_claim_that_are_bound_to_each_other(run: Run, capsys: Capture) -> None:
    volume, claim, _ = made(run, EXAMPLE, capsys, 3)
    assert (volume["kind"], claim["kind"]) == ("PersistentVolume", "PersistentVolumeClaim")
    assert volume["spec"]["csi"]["volumeHandle"] == id_of(3)
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["capacity"] == claim["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"] == f"from-image-{id_of(3)}"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"] == f"cinder-{id_of(3)}"


def test_the_same_manifests_are_printed_when_the_plan_is_carried_out(run: Run, capsys: Capture) -> None:
    planned = made(run, EXAMPLE, capsys, 1, 2)
    for _ in range(2):  # also when there is nothing left to do
        assert run.apply("--claims", str(EXAMPLE)) == 0
        assert list(yaml.safe_load_all(capsys.readouterr().out)) == planned


def test_every_field_can_be_used(run: Run, tmp_path: Path, capsys: Capture) -> None:
    text = "${id}|${name}|${dns_name}|${size}|${project}|${type}|${backend}|${pool}|$$"
    template = written(
        tmp_path, f"{VOLUME}\n---\n{{kind: ConfigMap, metadata: {{name: '${{id}}'}}, data: {{x: '{text}'}}}}"
    )
    _, values = made(run, template, capsys, 2)
    assert values["data"]["x"] == f"{id_of(2)}|typed|typed-{id_of(2)}|1Gi|project-2|gold|lvm|pool1|$"


def test_a_name_of_cinder_cannot_change_a_manifest(run: Run, source: Path, tmp_path: Path, capsys: Capture) -> None:
    name = 'a"}\n---\nkind: Secret\n${id}'
    change(source, f"UPDATE volumes SET display_name = '{name}' WHERE id = '{id_of(2)}'")
    template = written(tmp_path, VOLUME.replace("metadata: {", "metadata: {annotations: {title: '${name}'}, "))
    (volume,) = made(run, template, capsys, 2)
    assert volume["metadata"]["annotations"]["title"] == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Über_DB 1", "ber-db-1"), ("", "volume"), ("日本", "volume"), ("x" * 90, "x" * 26), (f"{'x' * 25} y", "x" * 25)],
)
def test_names_for_kubernetes_are_valid(run: Run, source: Path, name: str, expected: str, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET display_name = '{name}' WHERE id = '{id_of(2)}'")
    _, claim, _ = made(run, EXAMPLE, capsys, 2)
    assert claim["metadata"]["name"] == f"{expected}-{id_of(2)}"


def test_equal_names_in_different_plans_give_different_names_for_kubernetes(
    run: Run, source: Path, capsys: Capture
) -> None:
    change(source, "UPDATE volumes SET display_name = 'Data'")
    claims = []
    for number in (1, 2):
        run.plan_file = run.plan_file.with_name(f"{number}.yaml")
        claims += [item["metadata"]["name"] for item in made(run, EXAMPLE, capsys, number)[1:2]]
    assert claims == [f"data-{id_of(1)}", f"data-{id_of(2)}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "--claims: the template is not YAML (line 1)"),
        ("", "--claims: the template must contain Kubernetes objects"),
        ("[1]", "--claims: the template must contain Kubernetes objects"),
        (
            VOLUME.replace("pv-", "$nothing-"),
            "--claims: unknown placeholder ${nothing}; known: id, name, dns_name, size",
        ),
        (VOLUME.replace("pv-", "$-"), "has an invalid placeholder; write ${NAME}, or $$ for $"),
        (VOLUME.replace("pv-${id}", "pv"), "--claims: the template makes 2 objects PersistentVolume pv; use ${id}"),
        (VOLUME.replace("volumeHandle: '${id}'", "volumeHandle: x"), "with spec.csi.volumeHandle: ${id}"),
        ("{kind: ConfigMap}", "--claims: each object of the template needs kind and metadata.name"),
    ],
    ids=["no YAML", "empty", "no object", "unknown field", "invalid field", "equal names", "no handle", "no name"],
)
def test_an_invalid_template_is_refused_before_anything_is_written(
    run: Run, tmp_path: Path, text: str, message: str, capsys: Capture
) -> None:
    assert run.plan(id_of(1), id_of(2), "--claims", str(written(tmp_path, text))) == 2
    assert message in capsys.readouterr().err
    assert not run.plan_file.exists()
