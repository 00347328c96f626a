"""Records with all fields set, and a sealer without a key."""

from __future__ import annotations

import base64
from typing import Any

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    Imported,
    InitiatorData,
    KeyValue,
    Modification,
    Node,
    Provider,
    Snapshot,
    Source,
    SourceKind,
    Status,
    Volume,
    VolumeType,
)
from csi_cinderlib.model.size import GiB

ODD = 'Größe 🗄 \u2028 "quoted" \\ tab\t trailing '
"""Text that is often handled incorrectly."""

NESTED: dict[str, object] = {
    "list": [1, 2.5, None, True, {"deep": [ODD]}],
    "big": 2**70,
    "empty": {},
    "nul": "a\0b",
    "half": "\ud83d",
}
CREATED = "2026-02-03T04:05:06.000007Z"

VOLUME = Volume(
    id="b5c9",
    name=f"pvc {ODD}",
    backend="array1",
    pool="pool#1",
    host="csi@array1#pool#1",
    size=GiB(7),
    status=Status.EXTENDING,
    message=ODD,
    source=Source(SourceKind.SNAPSHOT, "5a5a"),
    type=VolumeType(
        name="gold", extra_specs={"capabilities:x": "<is> True"}, qos_specs={"iops": "9"}, qos_consumer="both"
    ),
    capabilities=(
        Capability(Mount("xfs", ("noatime", ODD), "1000"), AccessMode.SINGLE_NODE_WRITER),
        Capability(Block(), AccessMode.MULTI_NODE_MULTI_WRITER),
        Capability(Mount(), AccessMode.MULTI_NODE_READER_ONLY),
    ),
    parameters={"backend": "array1", ODD: ODD},
    mutable_parameters={"iops": "10"},
    modification=Modification(
        origin=VolumeType(name="gold"),
        wanted=VolumeType(name=ODD, extra_specs={"capabilities:x": ODD}, qos_specs={"iops": "10"}),
        mutable_parameters={"qos/iops": ODD},
        detached=True,
        begun_at="2026-01-02T03:04:05Z",
        message=ODD,
    ),
    blank=True,
    mark_void=True,
    began_empty=True,
    raw=True,
    multiattach=True,
    provider=Provider(location="10.0.0.1:3260,1 iqn.x 1", auth="CHAP me PLAIN-AUTH", id="", geometry="512"),
    metadata={"k": ""},
    admin_metadata={"readonly": "False"},
    fields=NESTED,
    labels={"pvc": "claim"},
    group_id="9999",
    owner="controller-0",
    unfinished=True,
    name_taken="it exists",
    imported=Imported(
        name=ODD, reference={"source-name": ODD}, static=True, place=ODD, requester=ODD, request={ODD: [1, None]}
    ),
    adoption="7d7d",
    encryption="luks2",
    header="1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60",
    target_size=GiB(0),
    created_at=CREATED,
)
SNAPSHOT = Snapshot(
    id="5a5a",
    name=ODD,
    backend="array1",
    volume_id=VOLUME.id,
    size=GiB(7),
    status=Status.AVAILABLE,
    message=ODD,
    parameters={"a": "b"},
    provider=Provider(auth="CHAP me PLAIN-AUTH"),
    metadata={"m": ODD},
    fields=NESTED,
    labels={"l": "l"},
    blank=True,
    group_snapshot_id="8888",
    owner="controller-0",
    unfinished=True,
    name_taken="it exists",
    imported=Imported(name=ODD, reference={"source-id": "7"}),
    adoption="7d7d",
    encryption="luks2",
    created_at=CREATED,
)
ATTACHMENT = Attachment(
    id="a77a",
    volume_id=VOLUME.id,
    backend="array1",
    node_id="node-1",
    access_mode=AccessMode.SINGLE_NODE_MULTI_WRITER,
    read_only=True,
    block=True,
    status=Status.AVAILABLE,
    message=ODD,
    connector={"initiator": "iqn.node", "multipath": True, "wwpns": ["50:1", "50:2"]},
    connection_info={"driver_volume_type": "iscsi", "data": {"auth_password": "PLAIN-CHAP", "target_luns": [1, 2]}},
    blank=True,
    ciphertext=True,
    owner="controller-0",
    created_at=CREATED,
)
GROUP = Group(
    id="9999", name=ODD, backend="array1", host="csi@array1#p", status=Status.AVAILABLE, consistent=True, fields=NESTED,
    volume_ids=("b5c9",), owner="o", created_at=CREATED,
)  # fmt: skip
GROUP_SNAPSHOT = GroupSnapshot(
    id="8888",
    name=ODD,
    backend="array1",
    group_id="9999",
    snapshot_ids=("5a5a", ODD),
    volume_ids=("b5c9",),
    status=Status.DELETING,
    message=ODD,
    parameters={"p": "q"},
    fields=NESTED,
    owner="o",
    name_taken="it exists",
    created_at=CREATED,
)
INITIATOR_DATA = InitiatorData(
    id="iqn.node/Pure/CHAP", initiator="iqn.node", namespace="Pure", key="CHAP", value="PLAIN-INITIATOR"
)
KEY_VALUE = KeyValue(id="any key", value=f"PLAIN-VALUE {ODD}")
NODE = Node(
    id="node-1",
    connector={"host": "node-1", "found_dsc": ""},
    topology={"zone": ODD},
    public_key="AAAA",
    signers={"c1": "BBBB", "2026": "CCCC"},
)

RECORDS: tuple[Any, ...] = (VOLUME, SNAPSHOT, ATTACHMENT, GROUP, GROUP_SNAPSHOT, INITIATOR_DATA, KEY_VALUE, NODE)
"""One record of each kind, in an order in which they can be added. `Any`, because the methods of a store take one kind at a time."""
SECRETS = (b"PLAIN-AUTH", b"PLAIN-CHAP", b"PLAIN-INITIATOR", b"PLAIN-VALUE")
"""Secrets that must not be in the contents of a store with a sealer."""


def volume(id: str, **values: Any) -> Volume:
    """A minimal volume."""
    return Volume(**{"id": id, "name": f"pvc-{id}", "backend": "array1", "size": GiB(1), **values})


def snapshot(id: str, of: str, **values: Any) -> Snapshot:
    return Snapshot(**{"id": id, "backend": "array1", "volume_id": of, "size": GiB(1), **values})


def attachment(id: str, of: str, **values: Any) -> Attachment:
    mode = AccessMode.SINGLE_NODE_WRITER
    return Attachment(**{"id": id, "backend": "array1", "volume_id": of, "node_id": "n", "access_mode": mode, **values})


class Scrambler:
    """A sealer that obfuscates text, so that a search cannot find it. Not secure."""

    def __init__(self, key: str = "k1") -> None:
        self._prefix = f"scrambled:{key}:"

    def seal(self, plain: bytes, /) -> str:
        return self._prefix + base64.b64encode(bytes(byte ^ 0x5A for byte in plain)).decode()

    def open(self, text: str, /) -> bytes:
        """Raises ConfigurationError if another key sealed the text."""
        if not text.startswith(self._prefix):
            raise ConfigurationError("sealing_keys", f"unknown key {text.split(':')[1]!r}")
        return bytes(byte ^ 0x5A for byte in base64.b64decode(text.removeprefix(self._prefix)))
