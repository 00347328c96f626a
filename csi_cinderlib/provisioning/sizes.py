"""How large a volume becomes. Pure."""

from __future__ import annotations

from csi_cinderlib.errors import OutOfRange
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB, SizeRange, to_bytes


def new_size(asked: SizeRange, *, source: GiB | None) -> GiB:
    """The size of a volume to be made, `source` being the size of what it is made from.

    Raises:
        OutOfRange: no whole GiB lies in the range, or the source does not fit.
    """
    if source is None:
        return asked.choose()
    if not asked.required:
        if asked.limit and to_bytes(source) > asked.limit:
            raise OutOfRange(
                "capacity_range.limit_bytes", f"{asked.limit} bytes is less than its source, {to_bytes(source)}"
            )
        return source
    size = asked.choose()
    if size < source:
        raise OutOfRange(
            "capacity_range.required_bytes", f"{asked.required} bytes is less than its source, {to_bytes(source)}"
        )
    return size


def extension(volume: Volume, asked: SizeRange) -> GiB | None:
    """To what size a volume has to be extended, or None when it is large enough already.

    An extension that was begun is finished first: its driver may have grown the volume already, and none can shrink it.

    Raises:
        OutOfRange: the limit lies below what the volume has, or below the smallest whole GiB that is enough.
    """
    begun = volume.target_size if volume.status is Status.EXTENDING else None
    least = max(volume.size, begun or volume.size)
    if asked.limit and to_bytes(least) > asked.limit:
        raise OutOfRange(
            "capacity_range.limit_bytes", f"{asked.limit} bytes is less than the volume has, {to_bytes(least)}"
        )
    size = least if to_bytes(least) >= asked.required else asked.choose()
    return None if size == volume.size and begun is None else size
