"""A secret as it may be spelled in a file, an argument or a message."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote


def spelled(secret: str) -> tuple[bytes, ...]:
    """In plain, quoted for a URL, in hexadecimal digits, and what base64 makes of it wherever it begins in a longer text."""
    text = secret.encode()
    within = (base64.b64encode(bytes(lead) + text)[4 if lead else 0 : -4] for lead in range(3))
    forms = (text, quote(secret, safe="").encode(), text.hex().encode(), text.hex().upper().encode(), *within)
    return tuple(dict.fromkeys((*forms, *(form.translate(bytes.maketrans(b"+/", b"-_")) for form in forms))))


def is_shown(secret: str, content: bytes) -> bool:
    return any(form in content for form in spelled(secret))


def holders(secret: str, *directories: Path) -> list[Path]:
    """The files in which it is."""
    files = [path for directory in directories for path in directory.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if is_shown(secret, path.read_bytes())]
