"""The labels of records: what the sidecars say about a volume or snapshot for people (their `--extra-create-metadata`)."""

from __future__ import annotations

from collections.abc import Mapping

_OWNERS = ("pvc", "volumesnapshot")


def claim(labels: Mapping[str, str]) -> str:
    """Whom it is for, as `namespace/name` of the claim or the VolumeSnapshot; "" when nobody said so."""
    for kind in _OWNERS:
        if name := labels.get(f"{kind}/name"):
            return f"{labels.get(f'{kind}/namespace', '')}/{name}"
    return ""
