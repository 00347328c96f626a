"""This host's connector properties, by os-brick's function's arguments."""

from __future__ import annotations

from csi_cinderlib import brick


def get_connector_properties(
    root_helper: str = "sudo",  # noqa: ARG001  # no command is run for it
    my_ip: str = "",
    multipath: bool = False,
    enforce_multipath: bool = False,
    host: str | None = None,
    execute: object = None,  # noqa: ARG001  # as root_helper
) -> dict[str, object]:
    """What a driver needs to know of this host: initiator names, WWPNs, NQN, address.

    Args:
        my_ip: the address that storage sees; by default that of the default route.
        multipath: attach by all paths.
        enforce_multipath: fail where multipathd does not run.
        host: its name; by default this host's.
        root_helper, execute: accepted as os-brick does; no command is run.
    """
    return brick.connector_properties(
        host=host or "", ip=my_ip or "", multipath=multipath, enforce_multipath=enforce_multipath
    )
