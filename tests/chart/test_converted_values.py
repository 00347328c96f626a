"""Values that `csi-cinderlib convert --to chart` writes are what the chart takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from csi_cinderlib import cli
from csi_cinderlib.conversion import documents
from tests.chart.conftest import Json, Render, container, one, pod
from tests.component.conversion import session


@pytest.fixture(params=["cinder.conf", "cinderlib.yaml", "ember.env", "ember-custom-resource.yaml"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Json, Json]:
    """The values, and the Secret."""
    cli.main(["convert", str(session.FOLDER / request.param), "--to", "chart", "--name", "mine", "-o", str(tmp_path)])
    secret = tmp_path / "secret.yaml"
    return yaml.safe_load((tmp_path / "values.yaml").read_text()), yaml.safe_load(
        secret.read_text()
    ) if secret.exists() else {}


def test_the_chart_renders_them_and_mounts_their_secrets(written: tuple[Json, Json], render: Render) -> None:
    values, secret = written
    values.setdefault("controller", {})["privileged"] = True  # for LVM; whether it may is not decided by the conversion
    rendered = render(values)
    held = yaml.safe_load(one(rendered, "Secret", "-backends")["stringData"]["from-values.yaml"])
    assert held.items() >= values["backends"].items()
    if not secret:
        return
    (volume,) = [item for item in pod(rendered, "controller")["volumes"] if item["name"] == "converted"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"] == "mine"
    (mount,) = [item for item in container(rendered, "controller")["volumeMounts"] if item["name"] == "converted"]
    assert mount["mountPath"] == documents.SECRETS_DIRECTORY
    named = set(_files(values["backends"]))
    assert named == {f"{documents.SECRETS_DIRECTORY}/{key}" for key in secret["stringData"]}


def test_settings_of_ember_csi_arrive(render: Render, tmp_path: Path) -> None:
    cli.main(["convert", str(session.FOLDER / "ember.env"), "--to", "chart", "-o", str(tmp_path)])
    rendered = render(yaml.safe_load((tmp_path / "values.yaml").read_text()))
    node = yaml.safe_load(one(rendered, "ConfigMap", "-node")["data"]["config.yaml"])
    assert (node["multipath"], node["log"]["level"]) == (True, "debug")


def _files(value: object) -> list[str]:
    if isinstance(value, dict) and value.keys() == {"file"}:
        return [str(value["file"])]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [path for item in items for path in _files(item)]
