"""The type of a volume follows from its classes, at its creation and after each modification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import Volume, VolumeType
from csi_cinderlib.model.requests import ModifyVolume

from .conftest import GOLD, Site, driver_of

RETYPING = "tests.support.fakes.retyping.RetypingDriver"
SILVER = VolumeType(name="silver", extra_specs={"vendor:tier": "2"})


@pytest.fixture
def site(empty_site: Site) -> Site:
    both = VolumeType(name="both", qos_specs={"maxIOPS": "7"}, qos_consumer="both")
    empty_site.types = {"gold": GOLD, "silver": SILVER, "both": both}
    empty_site.add_backend("array", driver=RETYPING)
    return empty_site


@pytest.fixture
def driver(site: Site) -> Any:
    return driver_of(site, "array")


def modify(site: Site, volume: Volume, parameters: Mapping[str, str]) -> Volume:
    return site.volumes.modify(ModifyVolume(volume_id=volume.id, mutable_parameters=parameters))


def test_a_class_gives_the_same_properties_at_creation_and_later(site: Site, driver: Any) -> None:
    parameters = {"type": "gold", "qos/maxIOPS": "50"}
    made = site.create("a", parameters=parameters, mutable_parameters={"type": "gold"})
    later = site.create("b", parameters=parameters)
    modify(site, later, {"type": "gold"})
    assert driver.properties[later.id] == driver.properties[made.id]
    modify(site, later, {"type": "silver"})
    modify(site, later, {"type": "gold"})
    assert driver.properties[later.id] == driver.properties[made.id]


def test_an_adopted_volume_gets_the_content_of_a_type_of_the_same_name(site: Site, driver: Any) -> None:
    volume = site.create()
    old = VolumeType(name="gold", extra_specs={"vendor:old": "1"})
    site.store.replace(replace(site.store.get(Volume, volume.id), type=old))
    driver.properties[volume.id] = {"extraSpecs/vendor:old": "1"}
    assert modify(site, volume, {"type": "gold"}).type == GOLD
    assert driver.properties[volume.id] == {"extraSpecs/vendor:tier": "1", "qos/maxIOPS": "100"}


def test_an_adopted_volume_keeps_what_no_class_names(site: Site, driver: Any) -> None:
    volume = site.create()
    old = VolumeType(name="old", extra_specs={"vendor:old": "1"}, qos_specs={"maxIOPS": "1"}, qos_consumer="both")
    site.store.replace(replace(site.store.get(Volume, volume.id), type=old))
    for value in ("2", "3"):
        assert modify(site, volume, {"qos/maxIOPS": value}).type == replace(old, qos_specs={"maxIOPS": value})
    assert modify(site, volume, {"qos/maxIOPS": ""}).type == replace(old, qos_specs={})


def test_a_type_that_has_changed_in_the_configuration_is_applied_when_a_class_names_it(site: Site, driver: Any) -> None:
    volume = site.create(parameters={"type": "silver"})
    site.types = {**site.types, "silver": VolumeType(name="silver", extra_specs={"vendor:tier": "3"})}
    modify(site, volume, {"qos/maxIOPS": "5"})
    assert driver.properties[volume.id] == {"extraSpecs/vendor:tier": "2", "qos/maxIOPS": "5"}
    modify(site, volume, {"type": "silver"})
    assert driver.properties[volume.id] == {"extraSpecs/vendor:tier": "3", "qos/maxIOPS": "5"}


def test_qos_for_both_consumers_is_for_the_back_end_too(site: Site, driver: Any) -> None:
    volume = site.create()
    modified = modify(site, volume, {"type": "both"})
    assert modified.type is not None
    assert (driver.properties[volume.id], modified.type.qos_consumer) == ({"qos/maxIOPS": "7"}, "both")
    modify(site, volume, {"qos/maxIOPS": "8"})
    assert driver.properties[volume.id] == {"qos/maxIOPS": "8"}


def test_a_type_for_several_nodes_is_no_modification(site: Site, driver: Any) -> None:
    site.types = {**site.types, "many": VolumeType(extra_specs={"multiattach": "<is> True"})}
    volume = site.create()
    with pytest.raises(InvalidRequest, match="for several nodes"):
        modify(site, volume, {"type": "many"})
