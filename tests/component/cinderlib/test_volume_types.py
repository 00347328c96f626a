"""Volume types given as Cinder's objects."""

from __future__ import annotations

import pytest

from csi_cinderlib.cinderlib import Backend
from csi_cinderlib.errors import InvalidRequest


def test_a_volume_type_of_cinder_can_be_given_instead_of_its_specs(fake: Backend) -> None:
    source = fake.create_volume(1, extra_specs={"a": "5"}, qos_specs={"d": "7"})
    volume = fake.create_volume(1, volume_type=source.volume_type)
    kind = volume.volume_type
    assert (kind.extra_specs, kind.qos_specs.specs) == ({"a": "5"}, {"d": "7"})
    assert volume.volume_type_id == volume.id
    for given in ({"volume_type": "gold"}, {"volume_type": kind, "extra_specs": {"a": "6"}}):
        with pytest.raises(InvalidRequest, match="volume_type: must"):
            fake.create_volume(1, **given)
