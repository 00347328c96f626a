"""The type of an adopted volume has the name of none in this program's configuration, even if both are called the same."""

from __future__ import annotations

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.provisioning.volume_types import modify_type
from tests.component.adoption.openstack.databases import Run


def test_a_volume_gets_the_type_of_the_configuration_with_the_name_of_its_type_in_cinder(run: Run) -> None:
    run.plan_and_apply(2)
    gold = VolumeType(name="gold", extra_specs={"tier": "1"})
    assert modify_type(run.volumes()["typed"], {"type": "gold"}, named={"gold": gold}) == gold


def test_the_name_of_its_type_in_cinder_is_unknown_here(run: Run) -> None:
    run.plan_and_apply(2)
    with pytest.raises(InvalidRequest, match="unknown volume type 'gold'"):
        modify_type(run.volumes()["typed"], {"type": "gold"}, named={})
