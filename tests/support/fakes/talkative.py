"""Volumes in sparse files whose driver deals in CHAP secrets as the vendors' drivers do, and logs, stores and complains with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oslo_log import log

from csi_cinderlib.drivers.loopfile import LoopFileDriver
from tests.support.fakes.canaries import CHAP, COMPLAINED, STORED

LOG = log.getLogger(__name__)


class TalkativeDriver(LoopFileDriver):
    """See the module."""

    def create_volume(self, volume: Any) -> Any:
        super().create_volume(volume)
        initiator = self.db.driver_initiator_data_insert_by_key
        initiator(None, "iqn.2010-10.test:node", "talkative", "chap", STORED)
        return {"provider_auth": f"CHAP user {CHAP}"}

    def create_snapshot(self, snapshot: Any) -> Any:
        super().create_snapshot(snapshot)
        return {"provider_auth": f"CHAP user {CHAP}"}

    def create_export(self, context: Any, volume: Any, connector: Mapping[str, Any]) -> Any:
        return {"provider_auth": f"CHAP user {CHAP}"}

    def initialize_connection(self, volume: Any, connector: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        answer: dict[str, Any] = super().initialize_connection(volume, connector, **kwargs)
        answer["data"] |= {"auth_method": "CHAP", "auth_username": "user", "auth_password": CHAP}
        answer["data"] |= {"discovery_auth_username": "user", "discovery_auth_password": CHAP}
        LOG.debug("Connection of %s: %s", volume.name, answer)
        LOG.info("iscsiadm -m node --op update -n node.session.auth.password -v %s", CHAP)
        LOG.warning("Logging in at https://user:%s@array.test/api", CHAP)
        return answer

    def extend_volume(self, volume: Any, new_size: int) -> None:
        if new_size > 2:
            raise RuntimeError(f"the array refused {{'user': 'admin', 'password': '{COMPLAINED}'}} for {volume.name}")
        super().extend_volume(volume, new_size)
