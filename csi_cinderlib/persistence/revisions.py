"""Revisions for stores without a native one."""

from __future__ import annotations

from csi_cinderlib.model.ids import random_hex


def following(revision: str) -> str:
    """Return the revision that follows the given one: "3-9f2c51d0a3b4" after "2-...", "1-..." after "".

    The counter is for people. The random part makes the revision of each write unique. A record that was removed and created again is
    therefore different, and a writer that lost its connection can detect whether its write succeeded.
    """
    count, _, _ = revision.partition("-")
    return f"{int(count or 0) + 1 if count.isdecimal() or not count else 1}-{random_hex(12)}"
