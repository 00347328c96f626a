"""Node ids and os-brick's connector properties.

Inside Kubernetes the node id is the name of the node, and the node registers its connector properties in a separate object.
Outside Kubernetes the node id contains them: compact, versioned and at most 256 bytes (the limit of CSI).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

from csi_cinderlib.errors import InvalidRequest, Unsupported
from csi_cinderlib.model import received

MAX_NODE_ID = 256
_LONGEST = 64 * 1024
"""Limit of the uncompressed properties in a node id, in bytes."""
_PREFIX = "cl1."
KEYS = {
    "host": "h",
    "ip": "i",
    "initiator": "q",
    "wwpns": "p",
    "wwnns": "n",
    "nqn": "m",
    "nvme_hostid": "d",
    "nvme_native_multipath": "v",
    "multipath": "u",
    "enforce_multipath": "e",
    "system uuid": "s",
    "uuid": "o",
    "sdc_guid": "g",
    "found_dsc": "f",
    "do_local_attach": "l",
    "mountpoint": "a",
    "os_type": "t",
    "platform": "r",
}
"""The known connector properties, and their short names in a node id."""
_NAMES = {short: name for name, short in KEYS.items()}
_DEFAULTS: Mapping[str, object] = {
    "os_type": "linux",
    "platform": "x86_64",
    "do_local_attach": False,
    "multipath": False,
    "enforce_multipath": False,
    "nvme_native_multipath": False,
    "found_dsc": "",
}


def encode(connector: Mapping[str, object]) -> str:
    """Return a node id that contains these connector properties.

    Raises:
        Unsupported: they do not fit into the 256 bytes of CSI; names the longest ones.
    """
    short = {
        KEYS[key]: value
        for key, value in connector.items()
        if key in KEYS and value not in (None, [], "") and value != _DEFAULTS.get(key)
    }
    packed = zlib.compress(json.dumps(short, separators=(",", ":"), sort_keys=True).encode(), 9)
    text = _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")
    if len(text) > MAX_NODE_ID:
        longest = sorted(connector, key=lambda key: -len(str(connector[key])))[:3]
        raise Unsupported(
            f"the connector properties of this host need {len(text)} bytes as a node id, and CSI allows {MAX_NODE_ID}; "
            f"the longest: {', '.join(longest)}; register them through Kubernetes instead"
        )
    return text


def is_carrying(node_id: str) -> bool:
    """Whether it has the form of a node id with properties. A plain name can have this form as well."""
    return node_id.startswith(_PREFIX)


def decode(node_id: str) -> dict[str, object] | None:
    """Return the connector properties in a node id, or None if it is a plain name.

    Raises:
        InvalidRequest: it has the form of an id with properties, but cannot be parsed.
    """
    if not is_carrying(node_id):
        return None
    packed = node_id.removeprefix(_PREFIX)
    try:
        content = received.inflate(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), _LONGEST)
        raw = received.parse_object(content)
        return {**_DEFAULTS, **{_NAMES[key]: value for key, value in raw.items()}}
    except (ValueError, KeyError):
        raise InvalidRequest("node_id", "was not created by this driver's node plugin") from None


def shown(node_id: str, connector: Mapping[str, object]) -> str:
    """The host name of a node for people, or its id."""
    return str(connector.get("host") or node_id)
