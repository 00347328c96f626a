"""Labels of records: information for people that the sidecars add (`--extra-create-metadata`)."""

from __future__ import annotations

from collections.abc import Mapping

_OWNERS = ("pvc", "volumesnapshot")


def claim(labels: Mapping[str, str]) -> str:
    """The claim or VolumeSnapshot as `namespace/name`; "" if unknown."""
    for kind in _OWNERS:
        if name := labels.get(f"{kind}/name"):
            return f"{labels.get(f'{kind}/namespace', '')}/{name}"
    return ""
