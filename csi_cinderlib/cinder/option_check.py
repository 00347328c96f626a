"""Check a back end's options and their values, and report all problems at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from csi_cinderlib.cinder import conf, naming
from csi_cinderlib.config import former
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError, Problems
from csi_cinderlib.model.verbatim import is_inherited
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def check(settings: BackendSettings, section: str, known: Iterable[Any]) -> None:
    """Check the options against those registered by the driver. Logs options without effect.

    Args:
        known: further oslo.config options that the driver's class lists.

    Raises:
        ConfigurationError: lists all options that the driver does not have, with near matches, and all invalid values.
    """
    _problems(settings, section, known, may_have=frozenset()).raise_all()


def check_early(
    settings: BackendSettings, section: str, known: Iterable[Any], cause: ConfigurationError | None
) -> None:
    """As `check`, for a driver that could not be created and may have registered only some of its options.

    Args:
        cause: why it could not be created, if that is a separate problem.
    """
    problems = _problems(settings, section, known, may_have=naming.of_vendor(settings.driver))
    if problems.keys and cause is not None:
        problems.add(cause.key, cause.problem)
    problems.raise_all()


def _problems(settings: BackendSettings, section: str, known: Iterable[Any], *, may_have: frozenset[str]) -> Problems:
    from oslo_config import cfg

    registered = {option.dest: option for option in known}
    registered.update({name: entry["opt"] for name, entry in cfg.CONF._get_group(section)._opts.items()})
    by_spelling = {spelling: option for option in registered.values() for spelling in conf.spellings(option)}
    problems, names = Problems(), dict[str, str]()
    for key, value in settings.options.items():
        name = key.replace("-", "_")
        option = by_spelling.get(name)
        path = settings.origins.get(key) or f"backends.{settings.name}.options.{key}"
        if option is None:
            problem = "" if name in may_have else _unknown(path, name, value, by_spelling.keys() | may_have)
            problem = (problem and former.why_unknown(name, settings.options)) or problem
        elif (other := names.setdefault(option.dest, key)) != key:
            problem = f"is another name of option {other}, which is also set; remove one"
        else:
            problem = value_problem(section, option, is_shown=key not in settings.origins)
            problem = (problem and key not in settings.origins and former.why_no_value(name, value)) or problem
            _warn(path, name, option)
        if problem:
            problems.add(path, problem)
    return problems


def _unknown(path: str, name: str, value: object, known: Collection[str]) -> str:
    """The problem, or "" if it is only logged."""
    if is_inherited(value):
        if not naming.is_of_any(name) and not naming.why_idle(name):
            became = former.option(name)
            reason = f"was {became}" if became else "no driver has this option"
            _log.warning("[backend_defaults] option without effect", option=name, reason=reason)
        return ""
    return "" if _warn_if_idle(path, name) else naming.unknown(name, known)


def _warn(path: str, name: str, option: Any) -> None:
    """Log an option that Cinder ignores or will ignore."""
    if not _warn_if_idle(path, name) and option.deprecated_for_removal:
        reason = " ".join((option.deprecated_reason or "no reason given").split())
        _log.warning("deprecated option", option=path, reason=reason)


def _warn_if_idle(path: str, name: str) -> bool:
    """Whether the option has no effect here, which is logged."""
    if why := naming.why_idle(name):
        _log.warning("option without effect", option=path, reason=why)
    return bool(why)


def value_problem(section: str | None, option: Any, *, is_shown: bool = True) -> str:
    """The problem of the option's value, as a clause, or "".

    Args:
        is_shown: whether the clause may quote the value.
    """
    from oslo_config import cfg

    try:
        try:
            getattr(cfg.CONF[section] if section else cfg.CONF, option.dest)
        except cfg.NoSuchOptError as error:
            if error.opt_name != option.dest:
                unknown = f" ${error.opt_name}" if is_shown else ""
                return f"refers to the unknown option{unknown}; in cinder.conf, write $$ for a dollar sign"
            conf.read_unregistered(section, option)  # the driver registers it when it reads it
    except RecursionError:
        return "refers to itself"
    except (cfg.Error, ValueError) as error:
        return f"invalid value{f': {_reason(error)}' if is_shown else ''}; expected {describe(option)}"
    return ""


def describe(option: Any) -> str:
    """The option's type and bounds as text."""
    kind = option.type
    parts = [type(kind).__name__.lower()]
    for bound, word in (("min", "at least"), ("max", "at most")):
        if getattr(kind, bound, None) is not None:
            parts.append(f"{word} {getattr(kind, bound)}")
    if choices := getattr(kind, "choices", None):
        parts.append("one of " + ", ".join(str(choice) for choice in choices))
    return ", ".join(parts)


def _reason(error: Exception) -> str:
    """oslo.config's message, without the part that names a file."""
    message = str(error)
    return message.rpartition("is not valid: ")[2] if "is not valid: " in message else message
