"""Capacity and capabilities reported by drivers, and Cinder's rules for whether a volume fits. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from csi_cinderlib.backend import retypes
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import NOTHING, VolumeType
from csi_cinderlib.model.size import GiB

UNKNOWN = None
KNOWN = "known_extra_specs"
"""In the report of a pool: the scoped extra specs that the driver evaluates, with their values. Only the drivers of this project report it."""
FILTER, GOODNESS = "filter_function", "goodness_function"
"""Cinder's names of the placement functions in the report of a pool or of the whole back end."""
_QOS = ("QoS_support", "qos_support")
"""The spellings of Cinder's drivers. Several drivers with QoS report neither, so only a denial counts."""
_DEFAULT_RATIO = 20.0  # Cinder's
_TRUE = frozenset({"true", "1", "yes", "on", "<is> true"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One pool of a back end; sizes in GiB.

    Attributes:
        total: math.inf if the driver reports "infinite", None if unknown.
        free: as `total`.
        allocated: the total size of the known volumes, used for placement.
        provisioned: the total size of all volumes on the pool as reported by the driver; `allocated` if it reports none.
        reserved_percentage: of the total; not to be allocated.
        max_over_subscription_ratio: how many times the total may be provisioned to thin volumes.
        thin: thin provisioning is supported.
        qos: False only if the driver denies QoS.
        largest: the largest volume that the driver would create; math.inf if not reported (only csi-cinderlib's own driver reports it).
    """

    name: str
    total: float | None = UNKNOWN
    free: float | None = UNKNOWN
    allocated: float = 0
    provisioned: float = 0
    reserved_percentage: float = 0
    max_over_subscription_ratio: float = 1
    thin: bool = False
    largest: float = math.inf
    multiattach: bool = False
    qos: bool = True
    online_extend: bool = True
    raw: Mapping[str, Any] = field(default=NOTHING, repr=False)

    def less(self, size: float) -> Pool:
        """The pool after `size` GiB were allocated, as Cinder's scheduler accounts between two reports.

        A negative size means that a volume was deleted. The space freed by a thin volume is only known from the next report.
        """
        used = max(0.0, size) if self.thin else size
        free = self.free if self.free is None or math.isinf(self.free) else max(0.0, self.free - used)
        return replace(
            self,
            free=free,
            allocated=self.allocated + size,
            provisioned=self.provisioned + size,
            largest=max(0.0, self.largest - max(0.0, size)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStats:
    """A driver's report.

    Attributes:
        protocol: `storage_protocol`, such as "iSCSI", "FC", "ceph", "nfs".
        online_extend: volumes can be extended while attached.
        raw: the driver's own dictionary.
    """

    pools: tuple[Pool, ...]
    protocol: str = ""
    vendor: str = ""
    version: str = ""
    online_extend: bool = True
    raw: Mapping[str, Any] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCapabilities:
    """A back end's capabilities, from its driver class and its report.

    Attributes:
        revert: the driver reverts volumes itself, which is fast.
        retype: the driver changes the properties of existing volumes in place.
        group_snapshots: the driver takes snapshots of several volumes in one call.
        consistent_group_snapshots: these show one point in time.
        snapshots: a volume remains usable after a snapshot of it was taken.
        snapshot_attached: snapshots of attached volumes are supported.
        independent_snapshots: a volume can be deleted before its snapshots.
        clone: always true, since Cinder requires it.
    """

    multiattach: bool = False
    online_extend: bool = True
    thin: bool = False
    qos: bool = False
    revert: bool = False
    retype: bool = False
    group_snapshots: bool = False
    consistent_group_snapshots: bool = False
    clone: bool = True
    snapshots: bool = True
    snapshot_attached: bool = True
    independent_snapshots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverTraits:
    """Properties of a driver's class (`loading.traits`).

    Attributes:
        host: Cinder's `host@backend`.
        revert: it reverts to a snapshot itself.
        retypes: the parameters of existing volumes that it changes in place.
        group_snapshots: it takes snapshots of several volumes in one call.
        takes_snapshots: a volume remains usable after a snapshot of it was taken.
        needs_nova: it takes snapshots of attached volumes through Nova.
        refuses_growth_in_use: it does not extend attached volumes, although its report does not say so.
        independent_snapshots: its snapshots remain when their volume is deleted.
        overwrites_files: creating a volume overwrites a file of the same name.
        deletes_by_rm: deleting a volume succeeds even if its file does not exist.
        exports_at_start: attached volumes must be exported again after each start.
        manages_volumes: it can take over existing volumes.
        manages_snapshots: it can take over existing snapshots.
        finds_by_name: it finds volumes only by the name of Cinder's object, so it can use a volume with any name.
        checks_parents: it refuses to take over a snapshot of another volume, although it does not list snapshots.
        empty_methods: the methods of `loading.MAYBE_EMPTY` that do nothing.
    """

    host: str
    revert: bool = False
    retypes: retypes.Retypes = retypes.NONE
    group_snapshots: bool = False
    takes_snapshots: bool = True
    needs_nova: bool = False
    refuses_growth_in_use: bool = False
    independent_snapshots: bool = False
    overwrites_files: bool = False
    deletes_by_rm: bool = False
    exports_at_start: bool = False
    manages_volumes: bool = False
    manages_snapshots: bool = False
    finds_by_name: bool = False
    checks_parents: bool = False
    empty_methods: frozenset[str] = frozenset()


def capabilities(traits: DriverTraits, stats: BackendStats) -> BackendCapabilities:
    """A back end's capabilities, from its driver's traits and report."""
    consistent = any(pool.raw.get("consistent_group_snapshot_enabled") for pool in stats.pools)
    consistent = consistent or bool(stats.raw.get("consistent_group_snapshot_enabled"))
    return BackendCapabilities(
        multiattach=any(pool.multiattach for pool in stats.pools),
        online_extend=stats.online_extend and not traits.refuses_growth_in_use,
        thin=any(pool.thin for pool in stats.pools),
        qos=any(pool.qos for pool in stats.pools),
        revert=traits.revert,
        retype=traits.retypes.anything,
        group_snapshots=traits.group_snapshots,
        consistent_group_snapshots=traits.group_snapshots and consistent,
        snapshots=traits.takes_snapshots,
        snapshot_attached=traits.takes_snapshots and not traits.needs_nova,
        independent_snapshots=traits.independent_snapshots,
    )


@dataclass(frozen=True, slots=True)
class Rating:
    """The results of a pool's filter and goodness functions for a volume.

    Attributes:
        obstacle: the filter function that rejects the volume, or "".
        goodness: from 0 to 100.
    """

    obstacle: str = ""
    goodness: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The volume to be placed."""

    size: GiB
    type: VolumeType | None = None
    multiattach: bool = False


RatedStats = tuple[BackendStats, Mapping[str, Rating]]
"""A report, and the ratings of a volume by pool, for pools with functions."""


def has_functions(stats: BackendStats) -> bool:
    """Whether any pool has a filter or goodness function."""
    reports = (stats.raw, *(pool.raw for pool in stats.pools))
    return any(report.get(name) for report in reports for name in (FILTER, GOODNESS))


def usable_free(pool: Pool, *, thin: bool = True) -> float:
    """The size in GiB of the largest volume that Cinder's CapacityFilter would accept and the driver would create.

    Args:
        thin: False for a volume with `provisioning:type` thick.

    Returns:
        math.inf if the driver reports no limit; the driver then refuses volumes that are too large.
    """
    return min(pool.largest, _let_in(pool, thin=thin))


def _let_in(pool: Pool, *, thin: bool) -> float:
    if pool.free is None or math.isinf(pool.free):
        return math.inf
    if pool.total is None or math.isinf(pool.total):
        return math.inf if not pool.reserved_percentage else 0.0
    if pool.total <= 0:
        return 0.0
    available = pool.total - math.floor(pool.total * (pool.reserved_percentage / 100))
    if thin and pool.thin:
        if pool.max_over_subscription_ratio < 1:
            return 0.0
        return max(0.0, _rounded_down(available * pool.max_over_subscription_ratio - pool.provisioned))
    return max(0.0, _rounded_down(min(available - pool.provisioned, pool.free)))


def _rounded_down(gib: float) -> float:
    """Round down to two decimals. Cinder's scheduler rounds to the nearest and so may accept more than is free.

    Binary rounding errors of less than a block of 512 bytes are ignored.
    """
    return math.floor(gib * 100 + 1e-6) / 100


def parse(raw: Mapping[str, Any], *, backend: str, ratio: object, allocated: Mapping[str, float]) -> BackendStats:
    """Parse a driver's report.

    Args:
        backend: the name of the single pool if the driver reports no pools, as in Cinder.
        ratio: the option `max_over_subscription_ratio`, for drivers that do not report a ratio.
        allocated: GiB of csi-cinderlib's volumes by pool.
    """
    reported = raw.get("pools")
    pools = tuple(reported) if reported else ({**raw, "pool_name": raw.get("volume_backend_name") or backend},)
    return BackendStats(
        pools=tuple(_pool(pool, raw, ratio, allocated) for pool in pools),
        protocol=_first(raw.get("storage_protocol")),
        vendor=str(raw.get("vendor_name") or ""),
        version=str(raw.get("driver_version") or ""),
        online_extend=truth(raw.get("online_extend_support", True))
        and all(truth(pool.get("online_extend_support", True)) for pool in pools),
        raw=raw,
    )


def _pool(pool: Mapping[str, Any], whole: Mapping[str, Any], ratio: object, allocated: Mapping[str, float]) -> Pool:
    def value(key: str, default: Any = None) -> Any:
        return pool.get(key, whole.get(key, default))

    name = str(pool.get("pool_name") or "")
    total, free = capacity(value("total_capacity_gb")), capacity(value("free_capacity_gb"))
    own = allocated.get(name, number(value("allocated_capacity_gb"), 0.0))
    provisioned = number(value("provisioned_capacity_gb"), own)
    thin = truth(value("thin_provisioning_support", False))
    return Pool(
        name=name,
        total=total,
        free=free,
        allocated=own,
        provisioned=provisioned,
        reserved_percentage=number(value("reserved_percentage"), 0.0),
        max_over_subscription_ratio=_ratio(value("max_over_subscription_ratio", ratio), thin, total, free, provisioned),
        thin=thin,
        largest=number(value("largest_volume_gb"), math.inf),
        multiattach=truth(value("multiattach", False)),
        qos=all(truth(value(spelling, True)) for spelling in _QOS),
        online_extend=truth(value("online_extend_support", True)),
        raw=pool,
    )


def _ratio(given: object, thin: bool, total: float | None, free: float | None, provisioned: float) -> float:
    """Cinder's `auto` is the ratio of provisioned to used capacity."""
    if given != "auto":
        return number(given, _DEFAULT_RATIO)
    if not thin or total is None or free is None or math.isinf(total) or math.isinf(free):
        return 1.0
    if not provisioned:
        return _DEFAULT_RATIO
    return 1.0 + provisioned / (total - free + 1.0)


def capacity(value: object) -> float | None:
    """A capacity in GiB: "infinite" is math.inf; "unknown", missing or invalid is None."""
    if value is None or value == "unknown":
        return None
    if value == "infinite":
        return math.inf
    try:
        return float(value)  # type: ignore[arg-type]  # whatever a driver reports; checked by the attempt
    except (TypeError, ValueError):
        return None


def number(value: object, default: float) -> float:
    known = capacity(value)
    return default if known is None or math.isinf(known) else known


def truth(value: object) -> bool:
    """Drivers report booleans, or text for them."""
    return value.strip().lower() in _TRUE if isinstance(value, str) else bool(value)


def _first(value: object) -> str:
    """Newer drivers report a list of names for a protocol."""
    if isinstance(value, list | tuple):
        return str(value[0]) if value else ""
    return str(value or "")
