"""Which connections need their credentials again once the volume is attached: to detach it, or to take over a new size."""

from __future__ import annotations

from csi_cinderlib.brick.loading import CONNECTORS

_ASKED_AGAIN = frozenset({"scaleio", "vmdk"})
"""ScaleIO's connector unmaps by the gateway (`serverPassword`, `serverToken`), VMware's logs in to vCenter (`config`).

The other connectors of os-brick 7.1 read credentials in `connect_volume` alone, or none at all. RBD's `keyring`, of which `extend_volume`
would write a configuration file, is of no use to the programs that are run there: `rbd showmapped` and `rbd unmap` ask this kernel only.
tests/component/brick/test_credentials.py compares this with what os-brick reads.
"""


def are_asked_again(protocol: str) -> bool:
    """Whether detaching or extending may need the credentials. True for a protocol that is not known here."""
    return protocol in _ASKED_AGAIN or protocol not in CONNECTORS
