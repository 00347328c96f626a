"""What another program sent as JSON: it counts only if it is plain, and small enough to be looked at."""

from __future__ import annotations

import json
import zlib

MAX_DEPTH = 32
"""Of lists and objects in one another. What copies or searches a value needs a stack for it."""


def inflate(sent: bytes, limit: int) -> bytes:
    """What was deflated. Raises ValueError: it was not, or it is longer than `limit` bytes, of which no more are made."""
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(sent, limit)
    except zlib.error:
        raise ValueError("it is not deflated") from None
    if not engine.eof or engine.unused_data:
        raise ValueError(f"it is cut off, or longer than {limit} bytes")
    return content


def parse_object(text: bytes) -> dict[str, object]:
    """An object of JSON whose texts are UTF-8 without NUL, as names of files and arguments of programs must be.

    Raises:
        ValueError: it is something else, nested too deeply, or a number is none. The message shows nothing of it.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    if type(content) is not dict:
        raise ValueError("it is not an object")
    _check(content)
    return content


def is_text(value: str) -> bool:
    """Whether the kernel takes it: JSON can also carry NUL, and halves of characters."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number of JSON")


def _check(content: object) -> None:
    """Raises ValueError. No recursion: that is what it is to prevent elsewhere."""
    level: list[object] = [content]
    for _ in range(MAX_DEPTH):
        if not all(is_text(value) for value in level if isinstance(value, str)):
            raise ValueError("a text is not UTF-8, or holds NUL")
        lists = (value for value in level if isinstance(value, list))
        pairs = (pair for value in level if isinstance(value, dict) for pair in value.items())
        level = [item for values in (*lists, *pairs) for item in values]
        if not level:
            return
    raise ValueError("it is nested too deeply")
