"""What a node takes for a connection: only what a controller writes, each field of its type."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.connection import LONGEST, Connection, Formatting
from csi_cinderlib.model.size import MAX_SIZE, Bytes

CONNECTION = Connection(
    volume_id="v",
    attachment="a",
    protocol="iscsi",
    data={"target_portals": ["10.0.0.1:3260"] * 300, "auth_password": "canary"},
    size=Bytes(1 << 30),
    formatting=Formatting.UNKNOWN,
    alone=True,
    fs_type="xfs",
    encryption="luks2",
    mkfs_options=("-i", "size=512"),
)
CONTENT: dict[str, object] = json.loads(CONNECTION.to_json())
EVERY_TYPE: tuple[object, ...] = (
    None,
    True,
    1,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "\0",
    "\ud800",
    [],
    ["x"],
    [1],
    [["x"]],
    {},
    {"x": 1},
)
RIGHT: dict[str, tuple[object, ...]] = {
    "v": (1,),
    "volume_id": ("x",),
    "attachment": ("", "x"),
    "protocol": ("", "x"),
    "data": ({}, {"x": 1}),
    "size": (1,),
    "formatting": (),
    "read_only": (True,),
    "alone": (True,),
    "fs_type": ("",),
    "encryption": ("",),
    "mkfs_options": ([], ["x"]),
}


def sent(**changes: object) -> bytes:
    return zlib.compress(json.dumps({**CONTENT, **changes}).encode())


def test_a_connection_comes_back_whole() -> None:
    assert len(CONNECTION.to_bytes()) < 400
    assert Connection.from_bytes(CONNECTION.to_bytes()) == CONNECTION


def test_fields_that_older_controllers_do_not_send_have_defaults() -> None:
    content = {key: value for key, value in CONTENT.items() if key not in ("attachment", "alone", "encryption")}
    connection = Connection.from_json(json.dumps(content).encode())
    assert (connection.attachment, connection.alone, connection.encryption) == ("", False, "")


def test_only_the_connection_of_an_encrypted_volume_has_a_field_that_older_nodes_refuse() -> None:
    assert b"encryption" in CONNECTION.to_json()
    assert b"encryption" not in replace(CONNECTION, encryption="").to_json()


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_a_field_of_another_type_is_refused_by_its_name(name: str) -> None:
    accepted = []
    for value in EVERY_TYPE:
        try:
            Connection.from_bytes(sent(**{name: value}))
            accepted.append((type(value), value))
        except InvalidRequest as error:
            assert str(error).startswith("publish_context: ")
            assert name in str(error) or name == "v" or value in ("\0", "\ud800")
    assert accepted == [(type(value), value) for value in RIGHT[name]]


@pytest.mark.parametrize(
    "name", sorted(set(CONTENT) - {"attachment", "alone", "size", "read_only", "fs_type", "encryption"})
)
def test_what_is_missing_is_refused(name: str) -> None:
    with pytest.raises(
        InvalidRequest, match=r"publish_context: was not created by this driver's controller: missing (field|version)"
    ):
        Connection.from_json(json.dumps({key: value for key, value in CONTENT.items() if key != name}).encode())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"more": 1}, "unknown field 'more'"),
        ({"size": MAX_SIZE + 1}, f"'size': must be a number of bytes between 0 and {MAX_SIZE}"),
        ({"size": -1}, "'size': must be a number"),
        ({"formatting": "perhaps"}, "'formatting': must be one of never-formatted, unknown, forbidden"),
        ({"fs_type": "zfs"}, "'fs_type': unsupported file system 'zfs'"),
        ({"encryption": "rot13"}, "'encryption': unsupported encryption 'rot13'; supported: luks2"),
        ({"data": {"device_path": "/dev/\0"}}, "has a NUL character"),
        ({"data": {"key\ud800": 1}}, "is not UTF-8 or"),
        ({"data": {"x": float("nan")}}, "not valid JSON"),
        ({"v": 2}, "unsupported version 2; supported: 1"),
    ],
)
def test_a_value_that_no_controller_sends_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        Connection.from_bytes(sent(**changes))


@pytest.mark.parametrize("depth", [40, 900, 10_000, 300_000])
def test_a_deeply_nested_content_is_refused(depth: int) -> None:
    text = json.dumps({**CONTENT, "data": {"x": "HERE"}}).replace('"HERE"', "[" * depth + "]" * depth).encode()
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        Connection.from_json(text)


def test_what_would_unfold_to_fill_the_memory_is_refused() -> None:
    bomb = zlib.compress(b" " * (64 * LONGEST), 9)
    with pytest.raises(InvalidRequest, match=f"longer than {LONGEST} bytes"):
        Connection.from_bytes(bomb)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        CONNECTION.to_bytes()[:-5],
        CONNECTION.to_bytes() + b"x",
        zlib.compress(b"[]"),
        zlib.compress(b"\xff"),
    ],
)
def test_what_no_controller_sent_is_refused(damaged: bytes) -> None:
    with pytest.raises(InvalidRequest, match="publish_context: was not created by this driver's controller"):
        Connection.from_bytes(damaged)


@given(st.integers())
def test_no_damage_raises_anything_else_or_shows_the_content(seed: int) -> None:
    rng = random.Random(seed)
    damaged = bytearray(CONNECTION.to_json())
    for _ in range(rng.choice((1, 3, 30))):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    try:
        Connection.from_json(bytes(damaged))
    except InvalidRequest as error:
        assert "canary" not in str(error)


@pytest.mark.parametrize("header", ["", "1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60"])
def test_the_header_is_sent_if_there_is_one(header: str) -> None:
    """An older node refuses the field."""
    sent = Connection(volume_id="v", protocol="iscsi", data={}, encryption="luks2", header=header).to_json()
    assert (b"header" in sent) == bool(header)
    assert Connection.from_json(sent).header == header


@pytest.mark.parametrize("header", ["x", "1B4E28BA-2FA1-4D3B-A3F5-8A2C3D4E5F60", "1b4e28ba2fa14d3ba3f58a2c3d4e5f60"])
def test_a_header_that_is_no_uuid_is_refused(header: str) -> None:
    sent = Connection(volume_id="v", protocol="iscsi", data={}, encryption="luks2", header=header).to_json()
    with pytest.raises(InvalidRequest, match="field 'header'"):
        Connection.from_json(sent)
