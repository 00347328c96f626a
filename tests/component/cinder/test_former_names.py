"""A back end that is configured with former names of its driver and options works, or says what became of them."""

from __future__ import annotations

import logging

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.lifecycle.local import LocalBackend
from tests.support.local_backends import MakeBackend

DRIVERS = "cinder.volume.drivers."
SOLIDFIRE = f"{DRIVERS}solidfire.SolidFireDriver"
POWERMAX = f"{DRIVERS}dell_emc.powermax.iscsi.PowerMaxISCSIDriver"
RBD = f"{DRIVERS}rbd.RBDDriver"


def refused(make: MakeBackend, driver: str, **options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        make("x", driver=driver, **options)
    return str(caught.value)


def test_the_driver_gets_the_option_under_its_name_of_today(
    make: MakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        backend = make("x", driver="cinder.volume.driver.RBDDriver", start=False, iscsi_helper="lioadm")
    assert isinstance(backend, LocalBackend)
    assert backend.verbs.settings == BackendSettings(name="x", driver=RBD, options={"target_helper": "lioadm"})
    told = [
        vars(record)["values"]["reason"] for record in caplog.records if vars(record).get("event") == "former name used"
    ]
    assert [message.partition(": ")[0] for message in told] == ["backends.x.driver", "backends.x.options.iscsi_helper"]


def test_a_back_end_with_only_former_names_gets_past_the_check_of_its_options(make: MakeBackend) -> None:
    said = refused(make, f"{DRIVERS}dell_emc.vmax.iscsi.VMAXISCSIDriver", vmax_array="000120001234", nonsense=1)
    assert "nonsense: is not an option of this driver" in said
    assert "vmax_array" not in said
    assert "powermax_array" not in said


def test_an_option_is_refused_under_two_of_its_names(make: MakeBackend) -> None:
    said = refused(make, RBD, iscsi_helper="lioadm", target_helper="tgtadm")
    assert "iscsi_helper: was renamed to target_helper in Cinder 12.0 (Queens), which is also set; remove one" in said
    said = refused(make, POWERMAX, vmax_array="1", powermax_array="2")
    assert "vmax_array: was renamed to powermax_array in Cinder 14.0 (Stein), which is also set; remove one" in said


def test_a_removed_option_is_refused_with_its_history_and_no_guess(make: MakeBackend) -> None:
    said = refused(make, SOLIDFIRE, sf_enable_volume_mapping="true", eqlx_pool="default", sf_svpi="192.0.2.1")
    assert "sf_enable_volume_mapping: was removed in Cinder 12.0 (Queens)" in said
    assert "eqlx_pool: was removed in Cinder 16.0 (Ussuri)" in said
    assert "sf_svpi: is not an option of this driver; did you mean sf_svip?" in said


def test_another_vendors_former_option_says_that_the_driver_lacks_it(make: MakeBackend) -> None:
    said = refused(make, RBD, san_rest_port="8443")
    assert "was renamed to san_api_port in Cinder 15.0 (Train), which the driver does not support" in said


def test_a_removed_value_is_refused_with_its_history(make: MakeBackend) -> None:
    said = refused(make, RBD, iscsi_helper="ietadm")
    assert "target_helper: 'ietadm' was removed in Cinder 25.0 (2024.2); use lioadm or tgtadm" in said


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (f"{DRIVERS}coraid.CoraidDriver", "was removed in Cinder 2015.1 (Kilo)"),
        (f"{DRIVERS}huawei.HuaweiVolumeDriver", "use cinder.volume.drivers.huawei.huawei_driver.HuaweiISCSIDriver"),
        (f"{DRIVERS}netapp.iscsi.NetAppDirectCmodeISCSIDriver", "use cinder.volume.drivers.netapp.common.NetAppDriver"),
        (f"{DRIVERS}lvm.LVMVolumDriver", "did you mean cinder.volume.drivers.lvm.LVMVolumeDriver?"),
        ("RBDDriver", "did you mean cinder.volume.drivers.rbd.RBDDriver?"),
        ("tests.support.fakes.nowhere.Driver", "there is no driver 'tests.support.fakes.nowhere.Driver'"),
    ],
)
def test_a_driver_that_is_gone_is_refused_with_its_history(make: MakeBackend, driver: str, words: str) -> None:
    said = refused(make, driver)
    assert said.startswith("backends.x.driver: ")
    assert words in said
    assert ("did you mean" in said) == ("did you mean" in words)
