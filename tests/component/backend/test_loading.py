"""What is known of a driver by its class."""

from __future__ import annotations

from csi_cinderlib.backend import loading


def test_a_driver_on_a_share_is_called_once_at_a_time_and_others_as_often_as_wanted() -> None:
    class RemoteFSDriver:
        """By its name in Cinder, cinder/volume/drivers/remotefs.py."""

    class OnAShare(RemoteFSDriver):
        pass

    assert loading.calls_at_a_time(OnAShare()) == 1
    assert loading.calls_at_a_time(object()) == 0
