"""Names that Cinder's options and drivers had: the table of them, and what is said and done about each."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.backend import catalogue
from csi_cinderlib.config import check, former
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Inherited, Verbatim, is_inherited

DRIVERS = "cinder.volume.drivers."
LVM = f"{DRIVERS}lvm.LVMVolumeDriver"
POWERMAX = f"{DRIVERS}dell_emc.powermax.iscsi.PowerMaxISCSIDriver"


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(former.FILE.read_text())
    return found


@pytest.fixture(scope="module")
def current() -> set[str]:
    known = catalogue.load()
    return {option.name for driver in known.drivers for option in (*driver.options, *known.common)}


def translated(driver: str = LVM, /, **options: object) -> tuple[BackendSettings, list[str]]:
    return former.translate(BackendSettings(name="x", driver=driver, options=options))


# --- the table


def test_each_new_option_is_one_of_today(table: dict[str, Any], current: set[str]) -> None:
    renamed = {old: entry[1] for old, entry in table["options"].items() if entry[1]}
    assert len(renamed) > 60
    assert set(renamed.values()) <= current


def test_no_removed_option_is_one_of_today(table: dict[str, Any], current: set[str]) -> None:
    removed = {old for old, entry in table["options"].items() if not entry[1]}
    assert len(removed) > 300
    assert not removed & current


def test_no_new_name_is_a_former_one(table: dict[str, Any]) -> None:
    for kind in ("options", "drivers"):
        assert not {entry[1] for entry in table[kind].values()} & table[kind].keys()


def test_a_renamed_option_belongs_to_vendors_that_have_the_new_one(table: dict[str, Any]) -> None:
    known = catalogue.load()
    common = {option.name for option in known.common}
    vendors = {(driver.module.partition(".")[0], option.name) for driver in known.drivers for option in driver.options}
    for old, (_, new, scope) in table["options"].items():
        if new:
            assert scope or new in common, old
            assert all((vendor, new) in vendors or new in common for vendor in scope.split()), old


def test_every_name_that_a_driver_still_understands_is_in_the_table(table: dict[str, Any]) -> None:
    known = catalogue.load()
    understood = {
        (old.replace("-", "_"), option.name)
        for driver in known.drivers
        if driver.path.startswith("cinder.")
        for option in (*driver.options, *known.common)
        for old in option.former_names
    }
    assert understood
    assert understood <= {(old, entry[1]) for old, entry in table["options"].items()}


def test_each_new_driver_is_one_of_today(table: dict[str, Any]) -> None:
    moved = {old: entry[1] for old, entry in table["drivers"].items() if entry[1]}
    assert len(moved) > 40
    assert set(moved.values()) <= set(table["current"])
    assert not table["drivers"].keys() & set(table["current"])


def test_the_drivers_of_today_are_those_of_the_catalogue(table: dict[str, Any]) -> None:
    paths = {driver.path for driver in catalogue.load().drivers}
    assert paths <= set(table["current"])
    unregistered = set(table["current"]) - paths
    assert all(".stx." in path or path.endswith("PowerMaxNVMETCPDriver") for path in unregistered)


def test_each_release_is_one_that_was_scanned(table: dict[str, Any]) -> None:
    assert len(table["scanned"]) == len(table["releases"]) == len(set(table["scanned"].values()))
    entries = [*table["options"].values(), *table["drivers"].values()]
    entries += [entry for values in table["values"].values() for entry in values.values()]
    assert all(0 <= entry[0] < len(table["releases"]) for entry in entries)


def test_each_successor_that_advice_names_exists(table: dict[str, Any]) -> None:
    for old, (_, _, advice) in table["drivers"].items():
        named = [word.strip(",;") for word in advice.split() if word.startswith("cinder.")]
        assert set(named) <= set(table["current"]), old


# --- looking up


@pytest.mark.parametrize(
    ("old", "new", "since"),
    [
        ("iscsi_protocol", "target_protocol", "12.0 (Queens)"),
        ("iscsi_helper", "target_helper", "12.0 (Queens)"),
        ("iscsi-ip-address", "target_ip_address", "12.0 (Queens)"),
        ("iscsi_port", "target_port", "12.0 (Queens)"),
        ("iscsi_target_prefix", "target_prefix", "12.0 (Queens)"),
        ("vmax_srp", "powermax_srp", "14.0 (Stein)"),
        ("san_rest_port", "san_api_port", "15.0 (Train)"),
        ("hp3par_api_url", "hpe3par_api_url", "8.0 (Mitaka)"),
        ("nas_ip", "nas_host", "9.0 (Newton)"),
        ("sio_storage_pools", "powerflex_storage_pools", "15.0 (Train)"),
        ("netapp_volume_list", "netapp_pool_name_search_pattern", "7.0 (Liberty)"),
        ("storage_vnx_pool_name", "storage_vnx_pool_names", "7.0 (Liberty)"),
        ("sf_mvip", "san_ip", "2013.1 (Grizzly)"),
    ],
)
def test_a_renamed_option_is_found(old: str, new: str, since: str) -> None:
    found = former.option(old)
    assert found is not None
    assert (found.name, found.since) == (new, since)
    assert str(found) == f"renamed to {new} in Cinder {since}"


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("eqlx_group_name", "removed in Cinder 16.0 (Ussuri); it belonged to cinder.volume.drivers.dell_emc.ps"),
        ("netapp_vfiler", "removed in Cinder 12.0 (Queens); Data ONTAP in 7-Mode is no longer supported"),
        ("cinder_dell_emc_config_file", "removed in Cinder 13.0 (Rocky); set san_ip"),
        ("zadara_user", "removed in Cinder 18.0 (Wallaby); use zadara_access_key"),
        ("hitachi_horcm_numbers", "use hitachi_storage_id"),
        ("iet_conf", "removed in Cinder 25.0 (2024.2)"),
    ],
)
def test_a_removed_option_says_since_when_and_what_instead(old: str, words: str) -> None:
    found = former.option(old)
    assert found is not None
    assert words in str(found)
    assert not found.name


def test_the_last_release_of_a_name_is_told() -> None:
    found = former.option("zadara_user")
    assert found is not None
    assert found.last_release == "17.0 (Victoria)"


@pytest.mark.parametrize("name", ["san_ip", "target_helper", "volume_clear", "nonsense", ""])
def test_a_name_of_today_has_no_history(name: str) -> None:
    assert former.option(name) is None


def test_a_vendors_former_option_means_nothing_to_others() -> None:
    assert former.option("vmax_array", POWERMAX)
    assert former.option("vmax_array", LVM) is None
    assert former.option("iscsi_helper", LVM)


def test_the_drivers_of_others_have_no_former_options() -> None:
    assert former.option("iscsi_helper", "com.example.Driver") is None
    assert former.option("retry_interval", "com.example.Driver") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{DRIVERS}emc.emc_vmax_iscsi.EMCVMAXISCSIDriver", POWERMAX),
        (f"{DRIVERS}dell_emc.vmax.iscsi.VMAXISCSIDriver", POWERMAX),
        (f"{DRIVERS}lvm.LVMISCSIDriver", LVM),
        ("cinder.volume.driver.ISCSIDriver", LVM),
        ("nova.volume.driver.ISCSIDriver", LVM),
        (f"{DRIVERS}san.hp.hp_3par_fc.HP3PARFCDriver", f"{DRIVERS}hpe.hpe_3par_fc.HPE3PARFCDriver"),
        (f"{DRIVERS}emc.scaleio.ScaleIODriver", f"{DRIVERS}dell_emc.powerflex.driver.PowerFlexDriver"),
        (f"{DRIVERS}ibm.xiv_ds8k.XIVDS8KDriver", f"{DRIVERS}ibm.ibm_storage.ibm_storage.IBMStorageDriver"),
        (f"{DRIVERS}nimble.NimbleFCDriver", f"{DRIVERS}hpe.nimble.NimbleFCDriver"),
    ],
)
def test_a_driver_that_moved_is_found(old: str, new: str) -> None:
    found = former.driver(old)
    assert found is not None
    assert found.name == new


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (f"{DRIVERS}ibm.storwize_svc.StorwizeSVCDriver", "StorwizeSVCFCDriver or storwize_svc_iscsi"),
        (f"{DRIVERS}hpe.hpe_lefthand_iscsi.HPELeftHandISCSIDriver", "was removed in Cinder 16.0 (Ussuri)"),
        (f"{DRIVERS}lvm.LVMISERDriver", "with target_protocol: iser"),
        (f"{DRIVERS}tintri.TintriDriver", "use cinder.volume.drivers.vmstore.nfs.VmstoreNfsDriver"),
        (f"{DRIVERS}windows.iscsi.WindowsISCSIDriver", "was removed in Cinder 28.0 (2026.1)"),
    ],
)
def test_a_removed_driver_says_since_when_and_what_instead(old: str, words: str) -> None:
    assert words in former.why_no_driver(old)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LVMVolumeDriver", ["lvm.LVMVolumeDriver"]),
        ("LVMISCSIDriver", ["lvm.LVMVolumeDriver"]),
        ("lvm", ["lvm.LVMVolumeDriver"]),
        ("ceph", ["rbd.RBDDriver"]),
        ("Pure iSCSI", ["pure.PureISCSIDriver"]),
        ("pure", ["pure.PureFCDriver", "pure.PureISCSIDriver", "pure.PureNVMEDriver"]),
        ("vmax", ["dell_emc.powermax.fc.PowerMaxFCDriver", "dell_emc.powermax.iscsi.PowerMaxISCSIDriver"]),
        (f"{DRIVERS}lvm.LVMVolumDriver", ["lvm.LVMVolumeDriver"]),
        ("hpe3parfcdriver", ["hpe.hpe_3par_fc.HPE3PARFCDriver"]),
        ("com.example.Driver", []),
        ("y", []),
        ("cinder.volume.drivers.", []),
        ("", []),
    ],
)
def test_a_short_or_wrong_driver_name_gets_what_it_may_mean(name: str, meant: list[str]) -> None:
    assert sorted(path.removeprefix(DRIVERS) for path in former.likely_drivers(name)) == meant


# --- translating


def test_former_names_are_translated_with_a_note_each() -> None:
    old = f"{DRIVERS}lvm.LVMISCSIDriver"
    settings, notes = translated(old, iscsi_helper="lioadm", volume_group="vg")
    assert settings.driver == LVM
    assert settings.options == {"target_helper": "lioadm", "volume_group": "vg"}
    assert notes == [
        f"backends.x.driver: {old} was renamed to {LVM} in Cinder 8.0 (Mitaka); update the configuration",
        "backends.x.options.iscsi_helper: renamed to target_helper in Cinder 12.0 (Queens); update the configuration",
    ]


def test_names_of_today_are_left_alone() -> None:
    options: dict[str, object] = {"target-helper": "lioadm", "volume_group": "vg", "nonsense": 1, "san_ip": None}
    settings, notes = translated(LVM, **options)
    assert (settings.options, settings.driver, notes) == (options, LVM, [])


def test_the_value_of_a_renamed_option_is_the_same_object() -> None:
    given = Verbatim("$my_ip", "192.0.2.1", {"my_ip": "192.0.2.1"})
    assert translated(iscsi_ip_address=given)[0].options["target_ip_address"] is given


@pytest.mark.parametrize("new", ["target_helper", "target-helper"])
def test_both_names_are_left_for_the_check_that_refuses_them(new: str) -> None:
    options = {"iscsi_helper": "lioadm", new: "tgtadm"}
    assert translated(**options) == (BackendSettings(name="x", driver=LVM, options=options), [])


def test_two_former_names_of_one_option_are_left_for_the_check() -> None:
    options = {"netapp_volume_list": "a", "netapp_storage_pools": "b"}
    assert translated(f"{DRIVERS}netapp.common.NetAppDriver", **options)[0].options == options


def test_a_back_ends_own_former_name_goes_before_the_shared_new_one() -> None:
    settings, notes = translated(target_helper=Inherited("tgtadm"), iscsi_helper=Verbatim("lioadm"))
    assert settings.options == {"target_helper": "lioadm"}
    assert len(notes) == 1


def test_a_back_ends_own_new_name_goes_before_the_shared_former_one() -> None:
    settings, notes = translated(iscsi_helper=[Inherited("tgtadm")], target_helper=Verbatim("lioadm"))
    assert (settings.options, notes) == ({"target_helper": "lioadm"}, [])


def test_of_two_shared_names_the_new_one_counts() -> None:
    settings, _ = translated(iscsi_helper=Inherited("tgtadm"), target_helper=Inherited("lioadm"))
    assert settings.options == {"target_helper": "lioadm"}


def test_a_former_name_without_a_value_is_no_second_value() -> None:
    settings, notes = translated(iscsi_helper=None, target_helper="lioadm")
    assert (settings.options, notes) == ({"target_helper": "lioadm"}, [])


def test_two_spellings_of_one_name_are_left_for_the_check() -> None:
    options: dict[str, object] = {"san-ip": Inherited("192.0.2.1"), "san_ip": Inherited("192.0.2.2")}
    assert translated(LVM, **options)[0].options == options


@hypothesis.settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["iscsi_helper", "iscsi-helper", "target_helper", "san_ip", "vmax_srp", "netapp_vfiler", "x"]),
        st.one_of(st.none(), st.text(), st.text().map(Inherited), st.lists(st.text().map(Inherited))),
    )
)
def test_no_value_of_a_back_end_is_changed_and_none_of_its_own_is_lost(options: dict[str, object]) -> None:
    old = BackendSettings(name="x", driver=POWERMAX, options=options)
    new, notes = former.translate(old)
    assert former.translate(new) == (new, [])
    assert all(any(value is given for given in options.values()) for value in new.options.values())
    own = [value for value in options.values() if value is not None and not is_inherited(value)]
    assert all(any(value is given for given in new.options.values()) for value in own)
    assert len(notes) <= len(new.options)


@pytest.mark.parametrize(
    "name", ["\x00", "é" * 100, "a.b" * 100_000, "." * 1000, "cinder.volume.drivers.", "[", "(", "nova.volume."]
)
def test_odd_driver_names_are_told_quickly_and_suggest_little(name: str) -> None:
    assert former.driver(name) is None
    assert len(former.likely_drivers(name)) <= 3


def test_removed_options_and_drivers_are_left_for_the_check() -> None:
    options = {"netapp_vfiler": "v"}
    assert translated(f"{DRIVERS}coraid.CoraidDriver", **options) == (
        BackendSettings(name="x", driver=f"{DRIVERS}coraid.CoraidDriver", options=options),
        [],
    )


def test_a_removed_value_says_since_when_and_what_instead() -> None:
    assert former.why_no_value("target_helper", " IETADM ").endswith(
        "was removed in Cinder 25.0 (2024.2); use lioadm or tgtadm"
    )
    assert not former.why_no_value("target_helper", "lioadm")
    assert not former.why_no_value("san_ip", "shred")
    assert not former.why_no_value("volume_clear", ["shred"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lvm", "package.module.Class (got 'lvm'); did you mean cinder.volume.drivers.lvm.LVMVolumeDriver?"),
        ("Pure iSCSI", "did you mean cinder.volume.drivers.pure.PureISCSIDriver?"),
        (f"{DRIVERS}pure.PureISCSIDriver.", "did you mean cinder.volume.drivers.pure.PureISCSIDriver?"),
        ("zzz", "package.module.Class (got 'zzz')"),
    ],
)
def test_a_driver_that_is_no_class_path_is_refused_with_what_it_may_mean(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check.backend(BackendSettings(name="x", driver=name))
    assert str(caught.value).endswith(words)
