"""Node ids that carry connector properties, and what claims to be one."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import nodes


def carrying(content: bytes) -> str:
    return "cl1." + base64.urlsafe_b64encode(zlib.compress(content, 9)).decode().rstrip("=")


def test_properties_come_back_from_a_node_id() -> None:
    connector: dict[str, object] = {"host": "n1", "initiator": "iqn.1993-08.org.debian:01:x", "multipath": True}
    decoded = nodes.decode(nodes.encode(connector))
    assert decoded is not None
    assert {key: decoded[key] for key in connector} == connector


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"5",
        b"\xff",
        b'{"nobody": 1}',
        json.dumps({"h": "\0"}).encode(),
        b"[" * 5000,
        b'{"h":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b" " * 60_000 + b"x",
        b" " * 150_000 + b"{}",
    ],
)
def test_what_carries_something_else_is_refused(content: bytes) -> None:
    node_id = carrying(content)
    assert len(node_id) <= nodes.MAX_NODE_ID
    with pytest.raises(InvalidRequest, match="node_id: was not created by"):
        nodes.decode(node_id)
