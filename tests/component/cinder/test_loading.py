"""What is known of a driver by its class."""

from __future__ import annotations

import pytest

from csi_cinderlib.cinder import loading
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.slots import Urgency, urgency
from csi_cinderlib.config.settings import BackendSettings
from tests.support.local_backends import MakeBackend


def test_a_driver_on_a_share_is_called_once_at_a_time_and_others_as_often_as_wanted() -> None:
    class RemoteFSDriver:
        """By its name in Cinder, cinder/volume/drivers/remotefs.py."""

    class OnAShare(RemoteFSDriver):
        pass

    assert loading.calls_at_a_time(OnAShare()) == 1
    assert loading.calls_at_a_time(object()) == 0


ALL = {"validate_connector", "create_export", "remove_export"}


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("csi_cinderlib.drivers.loopfile.LoopFileDriver", ALL),
        ("cinder.volume.drivers.rbd.RBDDriver", ALL),
        ("cinder.volume.drivers.pure.PureISCSIDriver", {"create_export", "remove_export"}),
        ("cinder.volume.drivers.netapp.dataontap.iscsi_cmode.NetAppCmodeISCSIDriver", {"validate_connector"}),
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", set()),
    ],
)
def test_methods_that_are_empty_in_a_driver_are_known(runtime: Runtime, path: str, empty: set[str]) -> None:
    cls = loading.driver_class(BackendSettings(name="one", driver=path))
    assert loading.empty_methods(object.__new__(cls)) == empty


def test_a_method_that_a_driver_gives_itself_at_its_start_is_not_empty(runtime: Runtime) -> None:
    path = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
    driver = object.__new__(loading.driver_class(BackendSettings(name="one", driver=path)))
    driver.create_export = lambda _context, volume, _connector: {"provider_location": volume.name}
    assert loading.empty_methods(driver) == {"validate_connector", "remove_export"}


def test_a_driver_counts_as_initialized_once_it_is_set_up(make: MakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Cinder calls through `volume_utils.require_driver_initialized` refuses a driver that is not."""
    from cinder.volume import volume_utils

    from tests.support.fakes.nothing import NothingDriver

    before: list[bool] = []
    monkeypatch.setattr(NothingDriver, "check_for_setup_error", lambda driver: before.append(driver.initialized))
    backend = make()
    assert before == [False]
    volume_utils.require_driver_initialized(backend.driver)


def test_a_driver_that_refuses_unknown_attributes_can_be_loaded(runtime: Runtime) -> None:
    driver = object.__new__(
        loading.driver_class(BackendSettings(name="one", driver="cinder.volume.drivers.solidfire.SolidFireDriver"))
    )
    driver.target_driver = None
    with pytest.raises(NotImplementedError):
        driver.missing  # noqa: B018  # its `__getattr__` raises that
    assert not loading._snapshots_are_independent(driver)
    assert urgency(driver, unnamed) is Urgency.CREATES


def unnamed() -> None: ...
