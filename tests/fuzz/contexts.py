"""Publish contexts: those that the controller sent, and what may arrive in their place."""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PREFIX = "plain:"
DEEP = 10_000
BOMB_BYTES = 64 * 1024**2
ANY: Sequence[object] = (
    None, True, False, 0, -1, 2**63, -(2**63), 2**4096, 1e308, 1.5, "", "x", "é" * 200, "\0", "\ud800", [], [1], ["-F"],
    {}, {"x": {}}, [[]] * 3, "../../etc",
)  # fmt: skip
"""A value of every type of JSON; "\\ud800" is a lone surrogate, which JSON can carry and UTF-8 cannot."""
_BOMB = zlib.compress(b" " * BOMB_BYTES, 9)
_NESTED = zlib.compress(b"[" * DEEP + b"]" * DEEP, 9)


def distort(rng: random.Random, valid: str, other: str) -> str:
    """A context's text made from a valid one ("" when there is none), or from nothing.

    Args:
        other: of another volume.
    """
    return rng.choice(_WAYS)(rng, valid or _plain({"v": 1}), other or valid)


def _truncate(rng: random.Random, valid: str, _other: str) -> str:
    return valid[: rng.randrange(len(valid) + 1)]


def _splice(rng: random.Random, valid: str, other: str) -> str:
    cut = rng.randrange(len(valid) + 1)
    return valid[:cut] + other[cut:]


def _swap(_rng: random.Random, _valid: str, other: str) -> str:
    return other


def _flip(rng: random.Random, valid: str, _other: str) -> str:
    at = rng.randrange(len(valid))
    return valid[:at] + rng.choice("AZaz09+/=:\n é\0") + valid[at + 1 :]


def _retype(rng: random.Random, valid: str, _other: str) -> str:
    content = _open(valid)
    return _plain({**content, rng.choice([*content, "unknown"]): rng.choice(ANY)})


def _retype_inside(rng: random.Random, valid: str, _other: str) -> str:
    content = _open(valid)
    data = content.get("data")
    inside: dict[str, object] = dict(data) if isinstance(data, dict) else {}
    return _plain({**content, "data": {**inside, rng.choice([*inside, "unknown"]): rng.choice(ANY)}})


def _omit(rng: random.Random, valid: str, _other: str) -> str:
    content = _open(valid)
    content.pop(rng.choice(list(content)), None)
    return _plain(content)


def _nest(rng: random.Random, valid: str, _other: str) -> str:
    if rng.random() < 0.5:
        return _encode(_NESTED)
    key = rng.choice(["data", "mkfs_options", "size"])
    text = json.dumps({**_open(valid), key: "HERE"}).replace('"HERE"', "[" * DEEP + "]" * DEEP)
    return _encode(zlib.compress(text.encode(), 9))


def _explode(_rng: random.Random, _valid: str, _other: str) -> str:
    return _encode(_BOMB)


def _unpack(rng: random.Random, valid: str, _other: str) -> str:
    """Not deflated, or not JSON, or not base64."""
    text = json.dumps(_open(valid)).encode()
    return rng.choice([_encode(text), _encode(zlib.compress(text[:-1])), PREFIX + text.decode(), _encode(b"")])


def _mislabel(rng: random.Random, valid: str, _other: str) -> str:
    return rng.choice(["", "k:", "k::", "k:x:", "k:x:gAAAA", "plain:", "sealed:"]) + valid.partition(":")[2]


_WAYS: Sequence[Callable[[random.Random, str, str], str]] = (
    _truncate, _splice, _swap, _flip, _retype, _retype, _retype, _retype_inside, _retype_inside, _omit, _nest, _explode,
    _unpack, _mislabel,
)  # fmt: skip


def _open(text: str) -> dict[str, Any]:
    try:
        content = json.loads(zlib.decompress(base64.b64decode(text.removeprefix(PREFIX))))
    except (ValueError, zlib.error):
        content = {}
    return content if isinstance(content, dict) and content else {"v": 1}


def _plain(content: Mapping[str, object]) -> str:
    return _encode(zlib.compress(json.dumps(content).encode(), 9))


def _encode(content: bytes) -> str:
    return PREFIX + base64.b64encode(content).decode()
