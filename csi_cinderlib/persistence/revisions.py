"""Revisions for stores that have none of their own."""

from __future__ import annotations

from csi_cinderlib.model.ids import random_hex


def following(revision: str) -> str:
    """A revision for the next state of a record: "3-9f2c51d0a3b4" after "2-...", "1-..." after "".

    The counter is for people. The random part makes each write's revision its own, so that a record removed and made again is not
    mistaken for the old one, and a writer whose connection broke can tell whether its write was carried out.
    """
    count, _, _ = revision.partition("-")
    return f"{int(count or 0) + 1 if count.isdecimal() or not count else 1}-{random_hex(12)}"
