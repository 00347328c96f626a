"""Cinder's filter and goodness functions for volume placement by operators and drivers, evaluated with Cinder's evaluator.

Corresponds to DriverFilter and GoodnessWeigher of Cinder's scheduler. A function is an expression over `stats`, `capabilities`,
`volume`, `extra` (specs) and `qos`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csi_cinderlib.backend.stats import FILTER, GOODNESS, BackendStats, Candidate, Pool, Rating
from csi_cinderlib.cinder import rows
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.observe import logs

_BEST = 100
_evaluating = LateLock()
"""Needed because Cinder's evaluator stores the values in a global."""
_log = logs.logger(__name__)


def functions(driver: Any, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The functions missing in the driver's report, as added by Cinder's volume manager."""
    getters = {FILTER: driver.get_filter_function, GOODNESS: driver.get_goodness_function}
    return {name: get() for name, get in getters.items() if name not in raw}


def check(backend: str, stats: BackendStats) -> None:
    """Raises ConfigurationError if a function is not a valid expression."""
    for pool in stats.pools:
        for name in (FILTER, GOODNESS):
            if function := _function(name, stats, pool):
                problem = _syntax_error(function)
                if problem:
                    raise ConfigurationError(
                        f"backends.{backend}.options.{name}", f"invalid expression {function!r}: {problem}"
                    )


def rate(host: str, stats: BackendStats, candidate: Candidate) -> Mapping[str, Rating]:
    """Ratings by pool name, for pools with functions.

    Args:
        host: Cinder's `host@backend`.
    """
    return {
        pool.name: Rating(_obstacle(host, stats, pool, candidate), _goodness(host, stats, pool, candidate))
        for pool in stats.pools
        if _function(FILTER, stats, pool) or _function(GOODNESS, stats, pool)
    }


def _function(name: str, stats: BackendStats, pool: Pool) -> str:
    return str(pool.raw.get(name, stats.raw.get(name)) or "")


def _obstacle(host: str, stats: BackendStats, pool: Pool, candidate: Candidate) -> str:
    """As in Cinder, a function that cannot be evaluated rejects every volume."""
    function = _function(FILTER, stats, pool)
    if not function:
        return ""
    try:
        passes = any(_evaluate(function, **values) for values in _values(function, host, stats, pool, candidate))
    except Exception as error:  # depends on the driver's figures
        return f"{function} ({error})"
    return "" if passes else function


def _goodness(host: str, stats: BackendStats, pool: Pool, candidate: Candidate) -> float:
    """As in Cinder, 0 for an invalid goodness."""
    function = _function(GOODNESS, stats, pool)
    if not function:
        return 0.0
    try:
        found = [_evaluate(function, **values) for values in _values(function, host, stats, pool, candidate)]
    except Exception as error:  # see above
        _log.warning("goodness function failed", pool=pool.name, function=function, reason=str(error), rating=0)
        return 0.0
    return max(map(_rated, found))


def _rated(found: object) -> float:
    if isinstance(found, bool):
        return float(_BEST if found else 0)
    return float(found) if isinstance(found, int | float) and 0 <= found <= _BEST else 0.0


def _values(
    function: str, host: str, stats: BackendStats, pool: Pool, candidate: Candidate
) -> Iterator[dict[str, Mapping[str, Any]]]:
    """The values, once for each protocol name if the function uses the protocol and there are several."""
    reported = {key: value for key, value in {**stats.raw, **pool.raw}.items() if key != "pools"}
    protocol = reported.get("storage_protocol")
    several = isinstance(protocol, list) and "storage_protocol" in function
    for name in protocol if several else [protocol]:  # type: ignore[union-attr]  # a list then
        own = {"storage_protocol": name}
        yield {
            "stats": {**_stats(host, stats, pool), **own},
            "capabilities": {**reported, **own},
            "volume": _volume(candidate),
            "extra": candidate.type.extra_specs if candidate.type else EMPTY,
            "qos": candidate.type.qos_specs if candidate.type else EMPTY,
        }


def _stats(host: str, stats: BackendStats, pool: Pool) -> dict[str, Any]:
    """The scheduler's values for a pool; capacities exclude volumes created since the report."""
    return {
        "host": f"{host}#{pool.name}",
        "backend_id": f"{host}#{pool.name}",
        "volume_backend_name": stats.raw.get("volume_backend_name"),
        "vendor_name": stats.vendor,
        "driver_version": stats.version,
        "QoS_support": pool.qos,
        "total_capacity_gb": "unknown" if pool.total is None else pool.total,
        "allocated_capacity_gb": pool.allocated,
        "free_capacity_gb": "unknown" if pool.free is None else pool.free,
        "reserved_percentage": pool.reserved_percentage,
    }


def _volume(candidate: Candidate) -> dict[str, Any]:
    return {
        "size": int(candidate.size),
        "multiattach": candidate.multiattach,
        "status": "creating",
        "attach_status": "detached",
        "project_id": rows.PROJECT,
        "user_id": rows.PROJECT,
    }


def _evaluate(function: str, **values: Mapping[str, Any]) -> Any:
    from cinder.scheduler.evaluator import evaluator

    with _evaluating:
        return evaluator.evaluate(function, **values)


def _syntax_error(function: str) -> str:
    """Evaluate without values: a valid expression then fails only because of the missing values."""
    try:
        _evaluate(function)
    except Exception as error:
        return str(error) if type(error.__context__).__name__ == "ParseException" else ""
    return ""
