"""How a node names itself to the controller, and what os-brick's connector properties are.

Inside Kubernetes the node id is the node's name, and the node registers its connector properties in an object of its own.
Outside, the node id itself carries them: compact, versioned and at most 256 bytes (CSI's limit).
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
"""Bytes of the properties in a node id, unfolded."""
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
    "found_dsc": "f",
    "do_local_attach": "l",
    "mountpoint": "a",
    "os_type": "t",
    "platform": "r",
}
"""The connector properties that are known, and what each is called in a node id."""
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
    """The node id that carries these connector properties.

    Raises:
        Unsupported: they do not fit into CSI's 256 bytes; names the longest ones.
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
            f"the connector properties of this host take {len(text)} bytes as a node id and CSI allows {MAX_NODE_ID}; "
            f"the longest are {', '.join(longest)}; register them through Kubernetes instead"
        )
    return text


def is_carrying(node_id: str) -> bool:
    """Whether it looks like an id that carries properties; a name may do so, too."""
    return node_id.startswith(_PREFIX)


def decode(node_id: str) -> dict[str, object] | None:
    """The connector properties in a node id, or None when it is a plain name.

    Raises:
        InvalidRequest: it claims to carry properties but cannot be read.
    """
    if not is_carrying(node_id):
        return None
    packed = node_id.removeprefix(_PREFIX)
    try:
        content = received.inflate(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), _LONGEST)
        raw = received.parse_object(content)
        return {**_DEFAULTS, **{_NAMES[key]: value for key, value in raw.items()}}
    except (ValueError, KeyError):
        raise InvalidRequest("node_id", "cannot be read: it was not made by this driver's node") from None


def shown(node_id: str, connector: Mapping[str, object]) -> str:
    """A node by the name that people know it by."""
    return str(connector.get("host") or node_id)
