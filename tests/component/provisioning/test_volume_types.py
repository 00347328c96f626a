import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.model.requests import ClassParameters
from csi_cinderlib.provisioning.volume_types import is_multiattach, resolve_type

GOLD = VolumeType(name="gold", extra_specs={"disk": "ssd", "compression": "on"}, qos_specs={"iops": "100"})
LIMITED = VolumeType(name="limited", qos_specs={"total_iops_sec": "100"}, qos_consumer="front-end")
NAMED = {"gold": GOLD, "limited": LIMITED}


def test_a_plain_class_has_no_type() -> None:
    assert resolve_type(ClassParameters(), {}, named=NAMED, multiattach=False) is None


def test_the_class_goes_over_the_named_type_and_mutable_parameters_over_both() -> None:
    parameters = ClassParameters(type="gold", extra_specs={"compression": "off"}, qos={"iops": "200", "burst": "1"})
    type = resolve_type(parameters, {"qos/iops": "300"}, named=NAMED, multiattach=False)
    assert type == VolumeType(
        name="gold", extra_specs={"disk": "ssd", "compression": "off"}, qos_specs={"iops": "300", "burst": "1"}
    )


def test_several_nodes_are_told_to_the_driver_as_cinder_does() -> None:
    type = resolve_type(ClassParameters(), {}, named=NAMED, multiattach=True)
    assert type is not None
    assert type.extra_specs == {"multiattach": "<is> True"}
    assert is_multiattach(type)
    assert not is_multiattach(None)


def test_an_unknown_type_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="gold, limited"):
        resolve_type(ClassParameters(type="bronze"), {}, named=NAMED, multiattach=False)


def test_qos_that_only_a_hypervisor_enforces_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="total_iops_sec"):
        resolve_type(ClassParameters(type="limited"), {}, named=NAMED, multiattach=False)


def test_a_mutable_type_goes_over_the_class_and_an_empty_value_removes_a_property() -> None:
    parameters = ClassParameters(type="limited", extra_specs={"compression": "off", "own": "1"}, qos={"burst": "1"})
    mutable = {"type": "gold", "qos/burst": "", "extraSpecs/disk": "hdd"}
    type = resolve_type(parameters, mutable, named=NAMED, multiattach=False)
    assert type == VolumeType(
        name="gold", extra_specs={"disk": "hdd", "compression": "on", "own": "1"}, qos_specs={"iops": "100"}
    )


@pytest.mark.parametrize("key", ["iops", "qos/", "extraSpecs/", "pool", "extraSpecs/multiattach"])
def test_a_mutable_parameter_that_cannot_be_changed_is_named(key: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        resolve_type(ClassParameters(), {key: "1"}, named=NAMED, multiattach=False)
    assert error.value.field == f"mutable_parameters[{key}]"
