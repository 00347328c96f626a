"""Cinder's [DEFAULT] section, which all Runtimes and back ends of a process share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from csi_cinderlib.cinder import conf, naming, option_check
from csi_cinderlib.errors import ConfigurationError, Problems
from csi_cinderlib.model.verbatim import Referenced
from csi_cinderlib.observe import logs

OURS = frozenset({"host", "state_path", "rootwrap_config", "zoning_mode"})
"""Options that csi-cinderlib sets itself; `naming.why_idle` gives the reasons."""

_log = logs.logger(__name__)


def carried(given: Mapping[str, object]) -> dict[str, object]:
    """The options that affect Cinder's drivers, by name; logs the others. Cinder must be loaded."""
    from cinder.volume import configuration
    from oslo_config import cfg

    known = _spellings(cfg.CONF._opts)
    of_back_ends = _spellings(cfg.CONF._groups[configuration.SHARED_CONF_GROUP]._opts)
    wanted: dict[str, object] = {}
    idle = []
    for key, value in given.items():
        name = key.replace("-", "_")
        if name in OURS:
            idle.append(f"{key} ({naming.why_idle(name)})")
        elif _is_referenced(value):
            if name not in known:
                cfg.CONF.register_opt(cfg.StrOpt(name))
            wanted[name] = value
        elif name in of_back_ends:
            idle.append(f"{key} (belongs in a back end's section or in [backend_defaults])")
        elif name in known:
            wanted[name] = value
        else:
            idle.append(key)
    if idle:
        _log.warning("[DEFAULT] options without effect", options=", ".join(sorted(idle)))
    return wanted


def refuse_conflict(wanted: Mapping[str, object], others: Iterable[Mapping[str, object]]) -> None:
    """Raises ConfigurationError for the first option that has another value in one of `others`."""
    for other in others:
        for name in sorted(wanted.keys() & other.keys()):
            if wanted[name] != other[name]:
                raise ConfigurationError(
                    f"[DEFAULT] {name}",
                    "already has another value in this process, and Cinder has only one [DEFAULT] section per process; "
                    "use the same value, or separate processes",
                )


def check(wanted: Iterable[str]) -> None:
    """Raises ConfigurationError for invalid loaded values."""
    from oslo_config import cfg

    problems = Problems()
    for name in wanted:
        option = cfg.CONF._opts.get(name)  # None for a deprecated name
        if option is not None and (problem := option_check.value_problem(None, option["opt"])):
            problems.add(f"[DEFAULT] {name}", problem)
    problems.raise_all()


def _is_referenced(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Referenced)


def _spellings(options: Mapping[str, Any]) -> set[str]:
    """The names of these options, including deprecated ones."""
    return {spelling for entry in options.values() for spelling in conf.spellings(entry["opt"])}
