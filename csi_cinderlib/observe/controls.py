"""What a terminal acts on, as JSON escapes it: an array's answer must not control the terminal of whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping

CONTROLS: Mapping[int, str] = {
    code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def escape_controls(text: str) -> str:
    """Text with what a terminal acts on, but for line ends and tabs, as JSON escapes it."""
    return text.translate(CONTROLS)
