"""The real `retype` of each driver that may modify volumes, on a client that records: an entry of the table needs such a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import pytest

from csi_cinderlib.backend import retypes
from csi_cinderlib.backend.retypes import Family
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import DriverError, Unsupported
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Volume, VolumeType
from csi_cinderlib.provisioning.restored import void_types
from tests.support.fakes import makers
from tests.support.local_backends import MakeBackend

ARRAYS = "tests.support.fakes.arrays"


@dataclass(frozen=True)
class Proof:
    """A module of fake arrays, and two sets of values. `derived`: the parameter that the array gets for another one, and two values."""

    module: str
    one: dict[str, str]
    two: dict[str, str]
    derived: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


def _numbers(names: str, *values: int) -> dict[str, str]:
    return {f"qos/{name}": str(value) for name, value in zip(names.split(), values, strict=True)}


_RBD = (
    "total_iops_sec read_iops_sec write_iops_sec total_bytes_sec read_bytes_sec write_bytes_sec "
    "read_iops_sec_max write_iops_sec_max read_bytes_sec_max write_bytes_sec_max"
)
_LDEV = "upperIops upperTransferRate lowerIops lowerTransferRate responsePriority"
_SC = "extraSpecs/storagetype:storageprofile", "extraSpecs/storagetype:datareductionprofile"
_LIMITS = "maxIOPS maxBWS"
PROOFS = {
    "Ceph RBD over iSCSI": Proof("rbd", _numbers(_RBD, *range(1, 11)), _numbers(_RBD, *range(11, 21))),
    "Dell SC": Proof("dell_sc", dict.fromkeys(_SC, "one"), dict.fromkeys(_SC, "two")),
    "Hitachi VSP": Proof(
        "hitachi",
        _numbers(_LDEV, 500, 50, 100, 10, 1),
        _numbers(_LDEV, 600, 60, 200, 20, 2),
        {"qos/upperIopsPerGB": ("qos/upperIops", "700", "800")},
    ),
    "HPE 3PAR, Primera and Alletra": Proof("hpe", _numbers(_LIMITS, 500, 50), _numbers(_LIMITS, 600, 60)),
    "LightOS": Proof("lightos", {"extraSpecs/lightos:qos_policy": "a"}, {"extraSpecs/lightos:qos_policy": "b"}),
    "SolidFire": Proof(
        "solidfire",
        _numbers("minIOPS maxIOPS burstIOPS", 100, 200, 300),
        _numbers("minIOPS maxIOPS burstIOPS", 400, 500, 600),
    ),
}
ELSEWHERE = {"Files": "tests/component/drivers/test_thin_and_thick.py changes real files"}
ABLE = [family for family in retypes.families() if family.retypes.anything and family.name not in ELSEWHERE]
DRIVERS = [(family, path) for family in ABLE for path in family.drivers]


def type_of(properties: dict[str, str]) -> VolumeType | None:
    """The volume type with properties in the notation of classes."""
    split = [(*key.split("/", 1), value) for key, value in properties.items()]
    specs = {key: value for kind, key, value in split if kind == "extraSpecs"}
    qos = {key: value for kind, key, value in split if kind == "qos"}
    return VolumeType(extra_specs=specs, qos_specs=qos) if properties else None


class Case:
    """A volume of a driver with a recording client."""

    def __init__(self, make: MakeBackend, driver: str, start: dict[str, str]) -> None:
        self.backend: LocalBackend = make(driver=driver, enable_unsupported_driver=True)
        self.array: Any = self.backend.driver
        self.volume: Volume = self.backend.create_volume(makers.volume(type=type_of(start)))
        self.array.found = dict(start)

    def modify(self, wanted: dict[str, str]) -> dict[str, str]:
        """What the array has afterwards."""
        self.volume = self.backend.modify_volume(self.volume, type_of(wanted), {})
        assert self.volume.modification is None
        return dict(self.array.found)


def _name(driver: tuple[Family, str]) -> str:
    return driver[1].rpartition(".")[2]


@pytest.fixture(params=DRIVERS, ids=_name)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> tuple[Family, str]:
    """A family, and the path of the recording class of one of its drivers."""
    family, path = request.param
    module = f"{ARRAYS}.{PROOFS[family.name].module}"
    name = path.rpartition(".")[2]
    kind = getattr(import_module(module), name)
    assert path in {f"{cls.__module__}.{cls.__name__}" for cls in kind.__mro__}
    kind.prepare(monkeypatch)
    return family, f"{module}.{name}"


@pytest.mark.parametrize("family", ABLE, ids=lambda family: family.name)
def test_each_parameter_in_the_table_has_a_proof(family: Family) -> None:
    proof = PROOFS[family.name]
    assert set(proof.one) == set(proof.two)
    assert set(proof.one) | set(proof.derived) == set(family.retypes.keys)
    assert all(proof.one[key] != proof.two[key] for key in proof.one)


def test_each_proof_is_of_an_entry() -> None:
    assert {family.name for family in ABLE} == set(PROOFS)


def test_the_array_gets_exactly_the_values_and_loses_those_that_are_removed(
    driver: tuple[Family, str], make: MakeBackend
) -> None:
    family, path = driver
    proof = PROOFS[family.name]
    case = Case(make, path, {} if family.retypes.removable else proof.two)
    assert case.modify(proof.one) == proof.one
    assert case.modify(proof.two) == proof.two
    assert case.modify(proof.one) == proof.one
    if family.retypes.removable:
        assert case.modify({}) == {}


def test_each_parameter_is_set_and_removed_alone(driver: tuple[Family, str], make: MakeBackend) -> None:
    family, path = driver
    proof = PROOFS[family.name]
    if not family.retypes.removable:
        case = Case(make, path, proof.one)
        for key in proof.one:
            if path.endswith("SolidFireDriver"):  # its values depend on each other
                continue
            changed = proof.one | {key: proof.two[key]}
            assert case.modify(changed) == changed
            assert case.modify(proof.one) == proof.one
        return
    case = Case(make, path, {})
    for key in proof.one:
        assert case.modify({key: proof.one[key]}) == {key: proof.one[key]}
        assert case.modify({key: proof.two[key]}) == {key: proof.two[key]}
        rest = {name: value for name, value in proof.one.items() if name != key}
        assert case.modify(proof.one) == proof.one
        assert case.modify(rest) == rest
        assert case.modify({}) == {}


def test_an_array_that_refuses_is_no_success(driver: tuple[Family, str], make: MakeBackend) -> None:
    family, path = driver
    proof = PROOFS[family.name]
    case = Case(make, path, {} if family.retypes.removable else proof.two)
    before = case.volume
    case.array.refuses = True
    with pytest.raises(DriverError):
        case.backend.modify_volume(before, type_of(proof.one), {})
    record = case.backend._ledger.store.get(Volume, before.id)
    assert record.type == before.type
    assert record.modification is not None or case.array.found == ({} if family.retypes.removable else proof.two)
    case.array.refuses = False
    case.volume = record
    assert case.modify(proof.one) == proof.one


def test_a_parameter_that_the_array_does_not_know_becomes_one_that_it_knows(
    driver: tuple[Family, str], make: MakeBackend
) -> None:
    family, path = driver
    for key, (name, *values) in PROOFS[family.name].derived.items():
        case = Case(make, path, {})
        for value in values:
            assert case.modify({key: value}) == {name: value}  # the volume has 1 GiB
        assert case.modify({}) == {}


@pytest.mark.parametrize("driver", [each for each in DRIVERS if each[0].converts], indirect=True, ids=_name)
@pytest.mark.parametrize(
    "on_array", [{"provisioningType": 1}, {"provisioningType": 6}, {"userCPG": "other"}, {"snapCPG": "other"}]
)
def test_a_volume_that_the_driver_would_convert_is_not_touched(
    driver: tuple[Family, str], on_array: dict[str, Any], make: MakeBackend
) -> None:
    family, path = driver
    case = Case(make, path, {})
    case.array.array.volume |= on_array
    with pytest.raises(Unsupported):
        case.modify(PROOFS[family.name].one)
    assert case.array.found == {}
    assert case.backend._ledger.store.get(Volume, case.volume.id).modification is None


def test_each_number_of_qos_has_a_range() -> None:
    for family in ABLE:
        numbers = {key for key in family.retypes.keys if key.startswith("qos/")}
        assert numbers == set(family.retypes.values)


@pytest.mark.parametrize("family", ABLE, ids=lambda family: family.name)
def test_a_value_that_is_no_number_is_refused_before_the_driver_is_called(family: Family) -> None:
    for key, allowed in family.retypes.values.items():
        least, most = allowed
        for value in ("5k", "", "-1", "1.5", "\u0661", str(int(least) - 1), str(int(most) + 1)):
            assert family.retypes.bad_value(key, value) == f"a whole number from {least} to {most}"
        assert family.retypes.bad_value(key, str(least)) == family.retypes.bad_value(key, str(most)) == ""


@pytest.mark.parametrize("changed", [True, False])
def test_after_a_restore_of_an_older_record_the_array_gets_the_values_of_the_next_class(
    changed: bool, driver: tuple[Family, str], make: MakeBackend
) -> None:
    family, path = driver
    proof = PROOFS[family.name]
    targets = [proof.one, dict([*proof.one.items()][:1]), {}] if family.retypes.removable else [proof.one]
    for wanted in targets:
        case = Case(make, path, wanted)
        old = case.volume
        if changed:
            assert case.modify(proof.two) == proof.two
        case.backend._ledger.store.replace(replace(old, revision=case.volume.revision))
        assert void_types(case.backend._ledger.store) == 1
        case.volume = case.backend._ledger.store.get(Volume, case.volume.id)
        assert case.modify(wanted) == wanted
        case.backend._ledger.store.remove(case.volume)
