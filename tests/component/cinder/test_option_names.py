"""What is said about options that a driver does not have."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.backend import catalogue
from csi_cinderlib.cinder import naming
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Inherited, Verbatim
from tests.support.local_backends import MakeBackend

NETAPP = "cinder.volume.drivers.netapp.common.NetAppDriver"
LVM = "cinder.volume.drivers.lvm.LVMVolumeDriver"


def test_all_problems_of_a_back_end_are_told_at_once(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("array", nothing_capcity_gb="3", nothing_port="99999", nothing_mode="medium", rbd_pool="volumes")
    for words in (
        "nothing_capcity_gb: is not an option of this driver; did you mean nothing_capacity_gb?",
        "nothing_port: invalid value",
        "nothing_mode: invalid value",
        "rbd_pool: is not an option of this driver; it is an option of RBDDriver, RBDISCSIDriver",
    ):
        assert words in str(caught.value)


def test_a_missing_option_is_named_and_not_those_that_depend_on_it(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError, match="netapp_storage_protocol is not set") as caught:
        make("filer", driver=NETAPP, netapp_server_hostname="192.0.2.1", nfs_shares_config="/etc/shares")
    assert "netapp_server_hostname" not in str(caught.value)
    assert "nfs_shares_config" not in str(caught.value)


def test_a_missing_option_is_told_beside_a_wrong_one(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError, match="netapp_storage_protocol is not set") as caught:
        make("filer", driver=NETAPP, netapp_hostname="192.0.2.1")
    assert "netapp_hostname: is not an option of this driver; did you mean netapp_server_hostname?" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["iscsi_helper", "iscsi_protocol", "san_rest_port", "vmax_array", "password", "nonsense"]
)
def test_nothing_is_suggested_that_is_not_near(name: str) -> None:
    known = [option.name for driver in catalogue.load().drivers if driver.path == LVM for option in driver.options]
    known += [option.name for option in catalogue.load().common]
    assert "did you mean" not in naming.unknown(name, known)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lvm_typ", "lvm_type"),
        ("volume_gruop", "volume_group"),
        ("lvm_filter", "lvm_conf_filter"),
        ("taget_helper", "target_helper"),
    ],
)
def test_what_was_meant_is_suggested(name: str, meant: str) -> None:
    known = ["lvm_type", "volume_group", "lvm_conf_filter", "target_helper", "lvm_mirrors"]
    assert naming.unknown(name, known) == f"is not an option of this driver; did you mean {meant}?"


@pytest.mark.parametrize(
    "name",
    [
        "backend_host",
        "zoning_mode",
        "enabled_backends",
        "image_volume_cache_enabled",
        "backup_driver",
        "host",
        "backup_use_temp_snapshot",
        "volume_driver",
    ],
)
def test_what_means_nothing_here_is_taken_and_logged(
    make: MakeBackend, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert make("array", **{name: "1"}).ready
    warned = [
        vars(record)["values"] for record in caplog.records if vars(record).get("event") == "option without effect"
    ]
    assert [(line["option"], bool(line["reason"])) for line in warned] == [(f"backends.array.options.{name}", True)]


def test_what_cinder_will_ignore_is_logged(make: MakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make("array", nothing_farewell="1")
    warned = [vars(record)["values"] for record in caplog.records if vars(record).get("event") == "deprecated option"]
    assert warned == [{"option": "backends.array.options.nothing_farewell", "reason": "it says nothing"}]


def test_no_option_that_a_driver_needs_is_said_to_have_no_effect() -> None:
    needed = {option.name for driver in catalogue.load().drivers for option in driver.options}
    assert [name for name in sorted(needed) if naming.why_idle(name)] == []


def test_an_unknown_default_for_all_back_ends_is_logged(make: MakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = make(rbd_pool=Inherited("volumes"), nonsense=Inherited("1"), several=[Inherited("1"), Inherited("2")])
    assert made.ready
    warned = [vars(record)["values"] for record in caplog.records if "[backend_defaults]" in record.getMessage()]
    reason = "no driver has this option"
    assert warned == [{"option": name, "reason": reason} for name in ("nonsense", "several")]


def test_two_names_of_one_option_are_refused(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError, match="is another name of option"):
        make(
            "lvm",
            driver=LVM,
            target_secondary_ip_addresses=["192.0.2.1"],
            iscsi_secondary_ip_addresses=Verbatim("192.0.2.2"),
        )


@given(st.text("abc", max_size=5), st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_distances_are_distances(one: str, two: str, three: str) -> None:
    assert (naming.distance(one, two) == 0) == (one == two)
    assert naming.distance(one, two) == naming.distance(two, one)
    assert abs(len(one) - len(two)) <= naming.distance(one, two) <= max(len(one), len(two))


@pytest.mark.parametrize(
    ("one", "other", "steps"), [("ab", "ba", 1), ("abc", "acb", 1), ("", "abc", 3), ("kitten", "sitting", 3)]
)
def test_a_distance(one: str, other: str, steps: int) -> None:
    assert naming.distance(one, other) == steps
