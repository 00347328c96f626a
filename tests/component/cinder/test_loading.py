"""What is known of a driver by its class."""

from __future__ import annotations

import pytest

from csi_cinderlib.cinder import loading
from tests.support.local_backends import MakeBackend


def test_a_driver_on_a_share_is_called_once_at_a_time_and_others_as_often_as_wanted() -> None:
    class RemoteFSDriver:
        """By its name in Cinder, cinder/volume/drivers/remotefs.py."""

    class OnAShare(RemoteFSDriver):
        pass

    assert loading.calls_at_a_time(OnAShare()) == 1
    assert loading.calls_at_a_time(object()) == 0


def test_a_driver_counts_as_initialized_once_it_is_set_up(make: MakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Cinder calls through `volume_utils.require_driver_initialized` refuses a driver that is not."""
    from cinder.volume import volume_utils

    from tests.support.fakes.nothing import NothingDriver

    before: list[bool] = []
    monkeypatch.setattr(NothingDriver, "check_for_setup_error", lambda driver: before.append(driver.initialized))
    backend = make()
    assert before == [False]
    volume_utils.require_driver_initialized(backend.driver)
