"""Sizes: CSI counts in bytes, Cinder in whole gibibytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from csi_cinderlib.errors import OutOfRange

Bytes = NewType("Bytes", int)
GiB = NewType("GiB", int)

BYTES_PER_GIB = 1024**3
DEFAULT_SIZE = GiB(1)
"""The size of a volume without a requested size."""
MAX_SIZE = Bytes((2**63 - 1) // BYTES_PER_GIB * BYTES_PER_GIB)
"""The largest whole GiB in CSI messages, whose sizes are int64."""


def gib_ceil(size: Bytes) -> GiB:
    """Round up to the whole gibibytes that Cinder counts in."""
    return GiB(-(-size // BYTES_PER_GIB))


def to_bytes(size: GiB) -> Bytes:
    return Bytes(size * BYTES_PER_GIB)


@dataclass(frozen=True, slots=True)
class SizeRange:
    """CSI's CapacityRange; 0 means "not given". Validated: neither is negative, and limit >= required if both are given."""

    required: Bytes = Bytes(0)
    limit: Bytes = Bytes(0)

    def choose(self) -> GiB:
        """The smallest sufficient size in whole GiB, at least 1.

        Raises:
            OutOfRange: the limit is below that size.
        """
        size = gib_ceil(self.required) if self.required else DEFAULT_SIZE
        if self.limit and to_bytes(size) > self.limit:
            raise OutOfRange(
                "capacity_range.limit_bytes",
                f"{self.limit} bytes is less than {to_bytes(size)}, the required {self.required} bytes rounded up to "
                "whole GiB",
            )
        return size

    def accepts(self, size: GiB) -> bool:
        """Whether an existing volume of this size satisfies the request (spec: CreateVolume, idempotency)."""
        have = to_bytes(size)
        return have >= self.required and (not self.limit or have <= self.limit)
