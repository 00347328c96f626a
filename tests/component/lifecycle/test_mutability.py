"""Whether a driver may be asked for a change."""

from __future__ import annotations

import pytest

from csi_cinderlib.backend.retypes import NONE, Retypes
from csi_cinderlib.errors import DriverError, InUse, Unsupported
from csi_cinderlib.lifecycle import mutability
from csi_cinderlib.model.records import VolumeType
from tests.support.fakes import makers

RETYPES = Retypes(online=("qos/*",), detached=("extraSpecs/a:slow",), blocked_by=("extraSpecs/a:group",))
SLOW = VolumeType(extra_specs={"a:slow": "1"})
FAST = VolumeType(qos_specs={"iops": "5"})


def check(
    origin: VolumeType | None, wanted: VolumeType | None, *, retypes: Retypes = RETYPES, attached: bool = False
) -> DriverError | None:
    try:
        mutability.check(retypes, makers.volume(), origin, wanted, attached=attached)
    except DriverError as error:
        return error
    return None


@pytest.mark.parametrize("attached", [True, False])
def test_what_changes_online_changes_attached_or_not(attached: bool) -> None:
    assert check(None, FAST, attached=attached) is None
    assert check(FAST, None, attached=attached) is None


def test_what_changes_only_detached_is_refused_while_the_volume_is_attached() -> None:
    assert check(None, SLOW) is None
    both = VolumeType(extra_specs=SLOW.extra_specs, qos_specs=FAST.qos_specs)
    error = check(None, both, attached=True)
    assert isinstance(error, InUse)
    assert "changes extraSpecs/a:slow, qos/iops only of detached volumes" in str(error)
    assert check(SLOW, both, attached=True) is None


def test_what_the_driver_does_not_change_is_refused_by_name() -> None:
    error = check(FAST, VolumeType(extra_specs={"a:copy": "1", "b": "2"}))
    assert isinstance(error, Unsupported)
    assert "not extraSpecs/a:copy, extraSpecs/b; its driver changes only qos/*, extraSpecs/a:slow" in str(error)
    assert check(VolumeType(extra_specs={"b": "2"}), VolumeType(extra_specs={"b": "2"}, qos_specs={"i": "1"})) is None


@pytest.mark.parametrize("blocker", ["a:group", "replication_enabled", "capabilities:replication_enabled"])
def test_some_properties_forbid_every_change(blocker: str) -> None:
    have = VolumeType(extra_specs={blocker: "x"})
    error = check(have, VolumeType(extra_specs=have.extra_specs, qos_specs={"iops": "5"}))
    assert isinstance(error, Unsupported)
    assert f"changes nothing of a volume with extraSpecs/{blocker}" in str(error)


def test_values_that_cannot_be_removed_can_only_be_replaced() -> None:
    kept = Retypes(online=("qos/*",), removable=False)
    other = VolumeType(qos_specs={"iops": "6"})
    assert check(FAST, other, retypes=kept) is None
    for origin, wanted in ((FAST, None), (None, FAST)):
        error = check(origin, wanted, retypes=kept)
        assert isinstance(error, Unsupported)
        assert "neither adds nor removes them: qos/iops" in str(error)


def test_a_driver_without_a_review_changes_nothing() -> None:
    error = check(None, FAST, retypes=NONE)
    assert isinstance(error, Unsupported)
    assert "its driver does not support it. Create a new volume" in str(error)
    reviewed = check(None, FAST, retypes=Retypes(effect="Copies the volume."))
    assert "its driver is not used for that: Copies the volume. Create a new volume" in str(reviewed)


def test_names_of_types_make_no_difference_but_front_end_qos_does() -> None:
    named = VolumeType(name="gold", qos_specs={"iops": "5"}, qos_consumer="both")
    assert mutability.is_same(named, FAST)
    front = VolumeType(qos_specs={"iops": "5"}, qos_consumer="front-end")
    assert mutability.differences(FAST, front) == {"qos_consumer": (None, "front-end")}
    assert isinstance(check(FAST, front), Unsupported)
    assert mutability.is_same(None, VolumeType(qos_consumer="front-end"))
    assert mutability.is_same(None, VolumeType(extra_specs={"multiattach": "<is> True"}))
    assert mutability.properties(SLOW) == {"extraSpecs/a:slow": "1"}


def test_a_value_that_the_driver_cannot_set_is_refused_by_name() -> None:
    ranged = Retypes(online=("qos/*", "extraSpecs/t"), values={"qos/iops": (1, 9), "extraSpecs/t": ("thin", "thick")})
    for kind, text in (
        (VolumeType(qos_specs={"iops": "5k"}), "qos/iops is '5k'; it must be a whole number from 1 to 9"),
        (VolumeType(qos_specs={"other": ""}), "qos/other is ''; it must be text"),
        (VolumeType(extra_specs={"t": "fat"}), "extraSpecs/t is 'fat'; it must be one of thin, thick"),
    ):
        error = check(None, kind, retypes=ranged)
        assert isinstance(error, Unsupported)
        assert text in str(error)
        assert check(kind, None, retypes=ranged) is None
    assert check(None, FAST, retypes=ranged) is None


def test_a_lower_limit_is_below_the_upper_one() -> None:
    paired = Retypes(
        online=("qos/*",), values={"qos/low": (1, 9), "qos/high": (1, 9)}, below=(("qos/low", "qos/high"),)
    )
    for high, fits in (("3", False), ("4", False), ("5", True)):
        error = check(None, VolumeType(qos_specs={"low": "4", "high": high}), retypes=paired)
        assert (error is None) == fits
        assert fits or "qos/low must be below qos/high" in str(error)
    assert check(None, VolumeType(qos_specs={"high": "1"}), retypes=paired) is None


@pytest.mark.parametrize("value", ["<is> False", "false", "<is>false"])
def test_replication_that_is_switched_off_forbids_nothing(value: str) -> None:
    off = {"replication_enabled": value}
    assert check(VolumeType(extra_specs=off), VolumeType(extra_specs=off, qos_specs={"iops": "5"})) is None


def test_replication_that_is_switched_on_by_the_change_forbids_it() -> None:
    off, on = ({"replication_enabled": f"<is> {value}"} for value in (False, True))
    wide = Retypes(online=("qos/*", "extraSpecs/*"))
    for origin, wanted in ((off, on), (on, off)):
        error = check(VolumeType(extra_specs=origin), VolumeType(extra_specs=wanted), retypes=wide)
        assert "changes nothing of a volume with extraSpecs/replication_enabled" in str(error)
