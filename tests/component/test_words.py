"""The words of the package, the chart and the hand-written documentation: phrases that plain technical English does without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERNS = (
    "csi_cinderlib/**/*.py", "scripts/**/*.py", "scripts/generate/prose/*.md", "scripts/generate/vendors/*.toml", "*.md", "docs/**/*.md",
    "examples/**/*.md", "charts/csi-cinderlib/*.yaml", "charts/csi-cinderlib/templates/*", "Makefile", "mkdocs.yml",
)  # fmt: skip
ELSEWHERE = ("docs/reference/drivers/", "csi_cinderlib/csi/v1/")
"""Texts of Cinder and of the CSI specification."""
AVOIDED = (
    r"is none of", r"by now", r"what there is", r"whoever", r"the one that", r"somebody", r"nobody", r"that which", r"is for \w+ to say",
)  # fmt: skip
_AVOIDED = re.compile(rf"\b(?:{'|'.join(AVOIDED)})\b".replace(" ", r"\s+(?:#\s+)?"), re.IGNORECASE)


def texts() -> Iterator[Path]:
    for pattern in PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            if not str(path.relative_to(ROOT)).startswith(ELSEWHERE):
                yield path


def avoided(text: str) -> list[str]:
    """Each such phrase with the number of its line; it may go on in the next line."""
    return [
        f"{text.count(chr(10), 0, found.start()) + 1}: {' '.join(found[0].split())}"
        for found in _AVOIDED.finditer(text)
    ]


def test_texts_avoid_phrases_that_read_as_translated() -> None:
    found = [f"{path.relative_to(ROOT)}:{line}" for path in texts() for line in avoided(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "text", ["'zfs' is none of ext4, xfs", "Whoever reads it", "it is gone by\n# now", "somebody else"]
)
def test_such_a_phrase_is_found(text: str) -> None:
    assert avoided(f"first line\n{text}\n")


def test_other_words_are_not_found() -> None:
    assert avoided("a standby node now takes over; another process; none of the volumes") == []
