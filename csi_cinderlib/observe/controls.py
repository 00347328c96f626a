"""Escapes terminal control characters as JSON does: the answer of an array must not control the terminal of a reader."""

from __future__ import annotations

from collections.abc import Mapping

CONTROLS: Mapping[int, str] = {
    code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def escape_controls(text: str) -> str:
    """Escape terminal control characters, except line ends and tabs, as JSON does."""
    return text.translate(CONTROLS)
