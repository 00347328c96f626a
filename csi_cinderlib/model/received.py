"""Strict parsing of JSON from other programs, with limits on size and depth."""

from __future__ import annotations

import json
import zlib

MAX_DEPTH = 32
"""Limit of nested lists and objects. Code that copies or searches a value recursively needs stack for each level."""


def inflate(sent: bytes, limit: int) -> bytes:
    """Decompress zlib data. Raises ValueError if they are invalid or longer than `limit` bytes; never produces more than that."""
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(sent, limit)
    except zlib.error:
        raise ValueError("not zlib-compressed") from None
    if not engine.eof or engine.unused_data:
        raise ValueError(f"truncated, or longer than {limit} bytes")
    return content


def parse_object(text: bytes) -> dict[str, object]:
    """Parse a JSON object whose texts are UTF-8 without NUL, as required for file names and program arguments.

    Raises:
        ValueError: it is not such an object, is nested too deeply, or contains an invalid number. The message shows no content.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        raise ValueError("not valid JSON") from None
    if type(content) is not dict:
        raise ValueError("not a JSON object")
    _check(content)
    return content


def is_text(value: str) -> bool:
    """Whether the text is valid for the kernel. JSON can contain NUL and unpaired surrogates."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a JSON number")


def _check(content: object) -> None:
    """Raises ValueError. Not recursive, because the depth is not limited yet."""
    level: list[object] = [content]
    for _ in range(MAX_DEPTH):
        if not all(is_text(value) for value in level if isinstance(value, str)):
            raise ValueError("contains text that is not UTF-8 or has a NUL character")
        lists = (value for value in level if isinstance(value, list))
        pairs = (pair for value in level if isinstance(value, dict) for pair in value.items())
        level = [item for values in (*lists, *pairs) for item in values]
        if not level:
            return
    raise ValueError("nested too deeply")
