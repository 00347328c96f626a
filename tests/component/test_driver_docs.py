"""The catalogue of drivers, their generated examples, and the schema of the configuration file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.backend import catalogue
from csi_cinderlib.commands import drivers as command
from csi_cinderlib.config import load
from csi_cinderlib.errors import InvalidRequest

REFERENCE = Path(__file__).parents[2] / "docs/reference"
KNOWN = catalogue.load()


@pytest.fixture(scope="module")
def validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads((REFERENCE / "config.schema.json").read_text()))


def wrong(validator: Any, settings: Any) -> Iterator[str]:
    return (error.message for error in validator.iter_errors(settings))


@pytest.mark.parametrize("driver", KNOWN.drivers, ids=lambda driver: driver.slug)
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
