"""Findings about a back end from its driver's report. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator

from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, Pool
from csi_cinderlib.cinder import naming
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.config import former
from csi_cinderlib.config.load import LOOPFILE_DRIVER
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.model.verbatim import is_inherited

CAPABILITIES = (
    "multiattach",
    "online_extend",
    "thin",
    "qos",
    "retype",
    "snapshots",
    "snapshot_attached",
    "independent_snapshots",
    "revert",
    "group_snapshots",
    "consistent_group_snapshots",
)
"""Optional capabilities. All drivers support volumes, clones and connections."""
_NOT_REACHED = (
    "the array is unreachable, or the account may not list its pools: check the driver's log (--log-level debug)"
)


def notes(settings: BackendSettings) -> Iterator[Finding]:
    """Settings of a back end that are translated or ignored."""
    what = f"back end {settings.name}"
    for translated in former.translate(settings)[1]:
        yield note(what, translated)
    for key, value in settings.options.items():
        if not is_inherited(value) and (why := naming.why_idle(key.replace("-", "_"))):
            yield note(what, f"backends.{settings.name}.options.{key} has no effect: {why}", "remove it")


def describe(name: str, driver: str, capabilities: BackendCapabilities, stats: BackendStats) -> Iterator[Finding]:
    about = " ".join(filter(None, (stats.vendor, stats.version)))
    what = f"back end {name}"
    yield ok(what, "; ".join(filter(None, (driver, f"protocol {stats.protocol or 'unknown'}", about))))
    can = {name.replace("_", " "): bool(getattr(capabilities, name)) for name in CAPABILITIES}
    yield ok(what, f"supports: {', '.join(name for name, offered in can.items() if offered) or 'basic operations'}")
    if missing := [name for name, offered in can.items() if not offered]:
        yield ok(what, f"does not support: {', '.join(missing)}")
    if str(stats.raw.get("backend_state", "up")).lower() == "down":
        yield problem(what, "its driver reports state down", _NOT_REACHED, required=True)
    if driver != LOOPFILE_DRIVER:
        detail = "the account's permission to create and delete volumes was not checked"
        yield unknown(what, detail, "create a volume with a test claim")
    for pool in stats.pools:
        yield judge_pool(name, pool)


def judge_pool(backend: str, pool: Pool) -> Finding:
    what, detail = f"pool {backend}/{pool.name}", f"{_gib(pool.free)} free of {_gib(pool.total)}"
    if str(pool.raw.get("backend_state", "up")).lower() == "down":
        return problem(what, "the driver reports state down", _NOT_REACHED, required=True)
    if pool.total is None and pool.free is None:
        return unknown(what, "the driver reports no capacity", _NOT_REACHED)
    if pool.total is not None and pool.total <= 0 and not pool.free:
        return problem(what, f"the driver reports no capacity ({detail})", _NOT_REACHED, required=True)
    if pool.free is not None and pool.free <= 0:
        return note(what, f"{detail}: it is full", "free up space, or add a pool")
    return ok(what, detail)


def _gib(size: float | None) -> str:
    if size is None:
        return "an unknown amount"
    return "no limit" if math.isinf(size) else f"{size:.1f} GiB"
