"""Ids derived from names: the name is the idempotency key, so the id must be too."""

from __future__ import annotations

import os
import random
import time
import uuid
from dataclasses import dataclass

_random = random.Random()  # noqa: S311  # not used for security
os.register_at_fork(after_in_child=_random.seed)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The ids of an installation. The same name in two installations gives different ids, so that they can share an array."""

    uuid: uuid.UUID

    def volume_id(self, name: str) -> str:
        """The id for the name of a CreateVolume call; any text, also non-ASCII."""
        return self._derive("volume", name)

    def snapshot_id(self, name: str) -> str:
        return self._derive("snapshot", name)

    def group_snapshot_id(self, name: str) -> str:
        return self._derive("group-snapshot", name)

    def member_id(self, group_snapshot: str, volume: str) -> str:
        """The id of the snapshot of a volume in a group snapshot."""
        return self._derive("member", group_snapshot, volume)

    def attachment_id(self, volume: str, node: str) -> str:
        """The id of the attachment of a volume to a node."""
        return self._derive("attachment", volume, node)

    def _derive(self, kind: str, *parts: str) -> str:
        return str(uuid.uuid5(self.uuid, "\0".join((kind, *parts))))


SHARED = Namespace(uuid.UUID("6f6b4e0e-6a53-5d0c-9b0a-2b1f0c1f6e55"))
"""The namespace of installations from before each one had its own namespace."""


def random_namespace() -> Namespace:
    return Namespace(uuid.uuid4())


def random_hex(digits: int) -> str:
    """Hexadecimal digits that are unique across processes, but predictable.

    They come from a generator that is seeded once per process, which saves a system call. The clock is mixed in, for virtual machines
    that are restored more than once from the same memory snapshot.
    """
    number = _random.getrandbits(4 * digits) ^ time.time_ns()
    return f"{number % (1 << 4 * digits):0{digits}x}"


def is_derived(id: str) -> bool:
    """Whether an id may be derived from a namespace. Ids of library users are random or chosen by them."""
    try:
        return uuid.UUID(id).version == 5
    except ValueError:
        return False
