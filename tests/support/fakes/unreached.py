"""Cinder drivers that catch the error when their array does not respond, each as some of Cinder's own do."""

from __future__ import annotations

from typing import Any

from cinder import interface
from oslo_log import log

from tests.support.fakes.nothing import NothingDriver

_LOG = log.getLogger(__name__)


@interface.volumedriver
class ZeroDriver(NothingDriver):
    """As NEC's: says so at debug level only."""

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        _LOG.debug("no response")
        return {"volume_backend_name": "zero", "total_capacity_gb": 0, "free_capacity_gb": 0}


@interface.volumedriver
class UnknownDriver(NothingDriver):
    """As Kioxia's: `nothing_mode: slow` is an array that does not respond."""

    def do_setup(self, context: Any) -> None:
        _LOG.error("a feature is missing, which does no harm")

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        if self.configuration.nothing_mode == "slow":
            _LOG.error("no response from 192.0.2.9, login admin/%s", self.configuration.nothing_password)
        return {"volume_backend_name": "unknown", "total_capacity_gb": "unknown", "free_capacity_gb": "unknown"}


@interface.volumedriver
class DownDriver(NothingDriver):
    """As Ceph's and Hitachi's: by pool."""

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        report = super().get_volume_stats(refresh)
        states = ("down", "up" if self.configuration.nothing_mode == "fast" else "down")
        pools = [{**pool, "backend_state": state} for pool, state in zip(report["pools"], states, strict=True)]
        return {**report, "pools": pools}


@interface.volumedriver
class EmptyDriver(NothingDriver):
    """Reports nothing, and logs why the first time only."""

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        self._called("get_volume_stats")
        if self.calls["get_volume_stats"] == 1:
            _LOG.error("no response from 192.0.2.9")
        return {}
