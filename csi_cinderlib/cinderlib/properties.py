"""The connector properties of this host, with the arguments of os-brick's function."""

from __future__ import annotations

from typing import cast

from csi_cinderlib import brick
from csi_cinderlib.cinderlib.results import ConnectorProperties


def get_connector_properties(
    root_helper: str = "sudo",  # noqa: ARG001  # no command is run
    my_ip: str = "",
    multipath: bool = False,
    enforce_multipath: bool = False,
    host: str | None = None,
    execute: object = None,  # noqa: ARG001  # as root_helper
) -> ConnectorProperties:
    """The connector properties of this host: initiator names, WWPNs, NQN, address.

    Args:
        my_ip: the address of this host for the storage; by default that of the default route.
        multipath: attach with all paths.
        enforce_multipath: fail if multipathd is not running.
        host: the host name; by default this host's.
        root_helper, execute: accepted as in os-brick; no command is run.
    """
    found = brick.connector_properties(
        host=host or "", ip=my_ip or "", multipath=multipath, enforce_multipath=enforce_multipath
    )
    return cast("ConnectorProperties", found)
