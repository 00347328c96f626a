"""The report about one pool of the file driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.backend.stats import KNOWN
from csi_cinderlib.drivers import allocation
from csi_cinderlib.drivers.directories import Directory
from csi_cinderlib.drivers.wording import in_words
from csi_cinderlib.model.size import BYTES_PER_GIB


def report(pool: Directory, common: Mapping[str, Any]) -> dict[str, Any]:
    """The pool's part of `get_volume_stats`; `common` is the same for all pools."""
    with in_words(f"cannot measure pool {pool.name!r}"):
        now = pool.capacity(count_anew=True)
    return {
        "pool_name": pool.name,
        "total_capacity_gb": now.total / BYTES_PER_GIB,
        "free_capacity_gb": now.free / BYTES_PER_GIB,
        "provisioned_capacity_gb": now.provisioned / BYTES_PER_GIB,
        "largest_volume_gb": pool.limits.largest(now) / BYTES_PER_GIB,
        "reserved_percentage": pool.limits.reserved_percentage,
        "max_over_subscription_ratio": pool.limits.max_over_subscription_ratio,
        "thin_provisioning_support": True,
        "thick_provisioning_support": pool.allocates,
        KNOWN: {allocation.SPEC: [allocation.THIN, allocation.THICK][: 1 + pool.allocates]},
        "multiattach": True,
        "QoS_support": False,
        "consistent_group_snapshot_enabled": True,
        **common,
    }
