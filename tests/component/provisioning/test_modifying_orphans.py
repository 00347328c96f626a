"""Unfinished modifications in the list of what is stuck, and their end by an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError
from csi_cinderlib.model.records import Status, Volume, VolumeType
from csi_cinderlib.model.requests import ModifyVolume

from .conftest import Configure, Site, driver_of

RETYPING = "tests.support.fakes.retyping.RetypingDriver"
OLD, NEW = {"qos/a": "1", "qos/b": "1"}, {"qos/a": "2", "qos/b": "2"}


@pytest.fixture
def site(empty_site: Site) -> Site:
    empty_site.add_backend("array", driver=RETYPING)
    return empty_site


@pytest.fixture
def volume(site: Site, configure: Configure) -> Volume:
    """A volume of which one of two properties was changed."""
    made = site.create(mutable_parameters=OLD)
    configure(fail=["retype_half"])
    with pytest.raises(BackendError):
        site.volumes.modify(ModifyVolume(volume_id=made.id, mutable_parameters=NEW))
    configure(fail=[])
    return site.store.get(Volume, made.id)


def test_an_unfinished_modification_is_listed_with_its_age_and_its_reason(site: Site, volume: Volume) -> None:
    (found,) = site.orphans.find()
    assert volume.modification is not None
    assert (found.kind, found.id, found.status, found.due) == ("volume", volume.id, "modifying", False)
    assert found.created_at == volume.modification.begun_at
    assert found.reason == "back end 'array': the array says no"
    assert found.fix == "finish the modification, or undo it"


def test_it_is_left_to_kubernetes_until_an_operator_ends_it(site: Site, volume: Volume) -> None:
    assert site.orphans.settle() == ()
    assert site.store.get(Volume, volume.id) == volume
    settled = site.orphans.fix(volume.id)
    assert settled.error == ""
    left = site.store.get(Volume, volume.id)
    assert (left.modification, left.mutable_parameters) == (None, NEW)
    assert driver_of(site, "array").properties[volume.id] == NEW
    assert site.orphans.find() == ()


def test_what_the_driver_does_not_finish_is_undone(site: Site, volume: Volume) -> None:
    driver: Any = driver_of(site, "array")
    driver.fixed = {"qos/a"}
    real = driver.retype

    def refused_once(*arguments: Any) -> Any:
        answer = real(*arguments)
        driver.fixed = set()
        return answer

    driver.retype = refused_once
    assert site.orphans.fix(volume.id).error == ""
    left = site.store.get(Volume, volume.id)
    assert (left.modification, left.mutable_parameters, left.type) == (None, OLD, volume.type)
    assert driver.properties[volume.id] == OLD


def test_a_failure_keeps_it_in_the_list(site: Site, volume: Volume, configure: Configure) -> None:
    configure(fail=["retype"])
    assert "the array says no" in site.orphans.fix(volume.id).error
    (found,) = site.orphans.find()
    assert volume.modification is not None
    assert found.created_at == volume.modification.begun_at


def test_a_volume_that_is_deleted_in_the_middle_is_listed_for_its_deletion(site: Site, volume: Volume) -> None:
    site.store.replace(replace(volume, status=Status.DELETING, type=VolumeType()))
    (found,) = site.orphans.find()
    assert (found.status, found.fix) == ("deleting", "finish the deletion")
