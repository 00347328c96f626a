"""Connections whose credentials are needed after the attach: to detach or extend the volume."""

from __future__ import annotations

from csi_cinderlib.brick.loading import CONNECTORS

_ASKED_AGAIN = frozenset({"scaleio", "vmdk"})
"""ScaleIO's connector unmaps through the gateway (`serverPassword`, `serverToken`); VMware's logs in to vCenter (`config`).

The other connectors of os-brick 7.1 read credentials only in `connect_volume`, or not at all. `extend_volume` of RBD would write a
configuration file with the `keyring`, but `rbd showmapped` and `rbd unmap` only talk to the kernel and do not need it.
tests/component/brick/test_credentials.py compares this with os-brick's source.
"""


def are_asked_again(protocol: str) -> bool:
    """Whether detaching or extending may need the credentials. True for unknown protocols."""
    return protocol in _ASKED_AGAIN or protocol not in CONNECTORS
