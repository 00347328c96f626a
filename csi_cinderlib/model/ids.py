"""Ids that follow from names: the name is the idempotency key, so the id must be too."""

from __future__ import annotations

import os
import random
import time
import uuid
from dataclasses import dataclass

_random = random.Random()  # noqa: S311  # it protects nothing
os.register_at_fork(after_in_child=_random.seed)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The ids of one installation: the same name in two installations gives two ids, so that they may share an array."""

    uuid: uuid.UUID

    def volume_id(self, name: str) -> str:
        """The id of the volume that CSI's CreateVolume names `name`; any text, also non-ASCII."""
        return self._derive("volume", name)

    def snapshot_id(self, name: str) -> str:
        return self._derive("snapshot", name)

    def group_snapshot_id(self, name: str) -> str:
        return self._derive("group-snapshot", name)

    def member_id(self, group_snapshot: str, volume: str) -> str:
        """The snapshot of that volume in a group snapshot."""
        return self._derive("member", group_snapshot, volume)

    def attachment_id(self, volume: str, node: str) -> str:
        """One attachment per volume and node."""
        return self._derive("attachment", volume, node)

    def _derive(self, kind: str, *parts: str) -> str:
        return str(uuid.uuid5(self.uuid, "\0".join((kind, *parts))))


SHARED = Namespace(uuid.UUID("6f6b4e0e-6a53-5d0c-9b0a-2b1f0c1f6e55"))
"""Of the installations that were set up before each had a namespace of its own."""


def random_namespace() -> Namespace:
    return Namespace(uuid.uuid4())


def random_hex(digits: int) -> str:
    """For what must differ from all others, also in other processes, and need not be hard to guess.

    From a generator that the operating system seeds once in each process, instead of a system call each time. The clock has a part in
    it, for a virtual machine that is restored twice from one snapshot of its memory.
    """
    number = _random.getrandbits(4 * digits) ^ time.time_ns()
    return f"{number % (1 << 4 * digits):0{digits}x}"


def is_derived(id: str) -> bool:
    """Whether an id may come from a namespace. Those of the library's users are random, or their own."""
    try:
        return uuid.UUID(id).version == 5
    except ValueError:
        return False
