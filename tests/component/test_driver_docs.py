"""The pages of the drivers, the schema of the configuration and the reference of the library say what the code does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.backend import catalogue
from csi_cinderlib.commands import drivers as command
from csi_cinderlib.config import load
from csi_cinderlib.errors import InvalidRequest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
KNOWN = catalogue.load()


def test_the_generated_pages_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts/generate_driver_docs.py", tmp_path], check=True, timeout=60)
    made = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.*")}
    stored = {name: (REFERENCE / name).read_text() if (REFERENCE / name).exists() else "" for name in made}
    assert [name for name in made if made[name] != stored[name]] == [], "run `make docs`"
    assert {path.name for path in (REFERENCE / "drivers").iterdir()} == {
        Path(name).name for name in made if "/" in name
    }


@pytest.fixture(scope="module")
def validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads((REFERENCE / "config.schema.json").read_text()))


def wrong(validator: Any, settings: Any) -> Iterator[str]:
    return (error.message for error in validator.iter_errors(settings))


@pytest.mark.parametrize("driver", KNOWN.drivers, ids=lambda one: one.slug)
def test_each_example_is_valid_and_is_read(driver: catalogue.Driver, validator: Any) -> None:
    block = yaml.safe_load(command.block(driver))
    assert list(wrong(validator, block)) == []
    plain = json.loads(json.dumps(block).replace('{"file": ', '{"env": '))
    secrets = {f"/run/secrets/{name}": "secret" for name in driver.example()}
    (backend,) = load.parse(plain, environment=secrets).backends
    assert (backend.driver, backend.options.keys()) == (driver.path, driver.example().keys())


def test_the_schema_knows_the_page_of_the_configuration(validator: Any) -> None:
    page = (REFERENCE / "configuration.md").read_text()
    assert list(wrong(validator, yaml.safe_load(page.split("```yaml\n")[1].split("```")[0]))) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mod": "all"}, "'mod' was unexpected"),
        ({"mode": "everything"}, "'everything' is not one of"),
        ({"backends": {"a": {}}}, "'driver' is a required property"),
        ({"backends": {"a": {"driver": "cinder.volume.drivers.rbd.RBDDriver", "options": {"rbd_pol": "x"}}}}, "'rbd_pol' was unexpected"),
        ({"backends": {"a": {"driver": "cinder.volume.drivers.rbd.RBDDriver", "stats_seconds": "x"}}}, "not valid"),
        ({"backends": {"a": {"driver": "x.Y", "options": 7}}}, "7 is not of type 'object'"),
    ],
)  # fmt: skip
def test_the_schema_refuses_what_is_wrong(validator: Any, settings: Any, told: str) -> None:
    assert told in " ".join(wrong(validator, settings))


def test_a_driver_is_found_by_any_of_its_names() -> None:
    path = "cinder.volume.drivers.rbd.RBDDriver"
    assert {KNOWN.find(name).path for name in (path, "rbddriver", "rbd.RBDDriver", path.upper())} == {path}
    with pytest.raises(InvalidRequest, match="did you mean 'RBDDriver'"):
        KNOWN.find("RBDriver")
    with pytest.raises(InvalidRequest, match=r"nexenta\.iscsi\..* or .*ns5\.iscsi"):
        KNOWN.find("NexentaISCSIDriver")
    with pytest.raises(InvalidRequest, match="unknown driver 'nothing at all like it'"):
        KNOWN.find("nothing at all like it")
