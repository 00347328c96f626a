"""Mapped RBD images, read from /sys: os-brick looks for udev's links, which a container may not have."""

from __future__ import annotations

from pathlib import Path

_DEVICES = Path("/sys/bus/rbd/devices")


def device_of(name: str, devices: Path = _DEVICES) -> str:
    """The device node of the image `POOL/IMAGE`, or "" when it is not mapped."""
    pool, _, image = name.partition("/")
    for entry in sorted(devices.glob("*")):
        try:
            mapped = (entry / "pool").read_text().strip(), (entry / "name").read_text().strip()
            snapshot = (entry / "current_snap").read_text().strip()
        except OSError:
            continue  # unmapped meanwhile
        if mapped == (pool, image) and snapshot in ("", "-"):
            return f"/dev/rbd{entry.name}"
    return ""
