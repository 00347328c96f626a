"""The pages about families of arrays: complete, and their examples and keys are those of the drivers."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.backend import catalogue, retypes
from csi_cinderlib.config import load
from csi_cinderlib.csi.requests import parameters
from scripts.generate import vendor_pages

KNOWN = catalogue.load()
FAMILIES = vendor_pages.families()
by_name = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_each_driver_belongs_to_one_family() -> None:
    assert vendor_pages.links(KNOWN).keys() == {driver.path for driver in KNOWN.drivers}


def test_an_unknown_key_of_the_facts_is_named() -> None:
    with pytest.raises(ValueError, match=r"array1\.toml: unknown key 'qoss'"):
        vendor_pages.family("array1", {"title": "Array", "drivers": ["rbd."], "qoss": []})


def test_an_option_that_no_driver_of_the_family_has_is_named() -> None:
    family = vendor_pages.family("array1", {"title": "Array", "drivers": ["rbd."], "options": {"pure_api_token": "x"}})
    with pytest.raises(ValueError, match=r"array1\.toml: options\.pure_api_token: no driver of this family has it"):
        vendor_pages._page(family, KNOWN)


@by_name
def test_the_example_of_a_back_end_is_accepted(family: vendor_pages.Family) -> None:
    block, _ = blocks(family)
    options = block["backends"]["array1"].get("options", {})
    schema = json.loads((Path(__file__).parents[2] / "docs/reference/config.schema.json").read_text())
    assert [error.message for error in validator(schema).iter_errors(block)] == []
    plain = json.loads(json.dumps(block).replace('{"file": ', '{"env": '))
    secrets = {f"/run/secrets/{name}": "secret" for name in options}
    (backend,) = load.parse(plain, environment=secrets).backends
    assert backend.options.keys() == options.keys() >= family.options.keys()


@by_name
def test_the_example_of_a_storage_class_is_accepted(family: vendor_pages.Family) -> None:
    _, document = blocks(family)
    parsed = parameters.storage_class(document["parameters"])
    assert parsed.backend == "array1"
    assert parsed.extra_specs == {spec.key: spec.example for spec in family.extra_specs if spec.example}
    assert parsed.qos == {spec.key: spec.example for spec in family.qos if spec.example}


@by_name
def test_the_drivers_read_each_key(family: vendor_pages.Family) -> None:
    vendors = {driver.module.partition(".")[0] for driver in family.members(KNOWN)}
    bases = {base for vendor in vendors for base in re.findall(r"from cinder\.volume\.drivers\.(\w+)", sources(vendor))}
    source = "\n".join(map(sources, vendors | bases))
    keys = [spec.key.rpartition(":")[2] for spec in (*family.extra_specs, *family.qos)]
    assert [key for key in keys if not re.search(rf"\b{re.escape(key)}\b", source)] == []


@cache
def sources(vendor: str) -> str:
    """The source code of a vendor's drivers in the Cinder that is installed."""
    (cinder,) = find_spec("cinder").submodule_search_locations  # type: ignore[union-attr,misc]  # it is installed; nothing is imported
    home = Path(cinder) / "volume/drivers"
    files = sorted((home / vendor).rglob("*.py")) or [home / f"{vendor}.py"]
    return "\n".join(file.read_text() for file in files if file.exists())


@cache
def _validator(schema: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema))


def validator(schema: Any) -> Any:
    return _validator(json.dumps(schema))


def blocks(family: vendor_pages.Family) -> list[Any]:
    """The YAML documents of the family's page: a back end, and a StorageClass."""
    return [
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(.*?)```", vendor_pages._page(family, KNOWN), re.DOTALL)
    ]


MODIFIED = [
    (path.removeprefix("cinder.volume.drivers."), family.retypes.keys)
    for family in retypes.families()
    for path in family.drivers
    if family.retypes.anything and path.startswith("cinder.")
]


@pytest.mark.parametrize(("path", "keys"), MODIFIED, ids=[path for path, _ in MODIFIED])
def test_each_parameter_that_can_be_modified_is_on_the_page_of_its_array(path: str, keys: tuple[str, ...]) -> None:
    pages = [family for family in FAMILIES if path.startswith(tuple(family.drivers))]
    known = {f"extraSpecs/{spec.key}" for family in pages for spec in family.extra_specs}
    assert set(keys) <= known | {f"qos/{spec.key}" for family in pages for spec in family.qos}
