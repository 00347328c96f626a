"""Matches extra specs with pools by the rules of Cinder's scheduler (CapabilitiesFilter). Pure.

A key without a scope, or with the scope "capabilities", is a requirement on the report of the pool. Keys with other scopes, such as
"netapp:thin_provisioned", are for the driver.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from csi_cinderlib.backend.stats import KNOWN

_SCOPE = "capabilities"
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})


def unmet(extra_specs: Mapping[str, str], reported: Mapping[str, object]) -> str:
    """The first key, sorted, that the pool does not meet, or ""."""
    for key in sorted(extra_specs):
        path = key.split(":")
        if path[0] == _SCOPE:
            path = path[1:]
        elif len(path) > 1:
            continue
        if not _meets(_look_up(reported, path), extra_specs[key]):
            return key
    return ""


def unknown(extra_specs: Mapping[str, str], reported: Mapping[str, object]) -> str:
    """The first scoped key, sorted, that the driver does not know, or whose value it does not know; "" if none, or if it is not known."""
    known = reported.get(KNOWN)
    if not isinstance(known, Mapping):
        return ""
    scoped = (key for key in sorted(extra_specs) if ":" in key and not key.startswith(f"{_SCOPE}:"))
    return next((key for key in scoped if extra_specs[key] not in known.get(key, ())), "")


def why_unknown(key: str, value: str, reported: Mapping[str, object]) -> str:
    """Why `unknown` names the key, as a clause."""
    known = reported[KNOWN]
    assert isinstance(known, Mapping)
    if key in known:
        return f"unknown value {value!r}; supported: {', '.join(known[key])}"
    return f"the driver does not evaluate it; supported: {', '.join(sorted(known))}"


def _look_up(reported: object, path: list[str]) -> object:
    for name in path:
        if not isinstance(reported, Mapping) or name not in reported:
            return None
        reported = reported[name]
    return reported


def _meets(have: object, wanted: str) -> bool:
    if have is None:
        return False
    return any(_match(item, wanted) for item in (have if isinstance(have, list) else [have]))


def _match(have: object, wanted: str) -> bool:
    words = wanted.split()
    if words and words[0] == "<or>":
        return have in words[1::2]
    if len(words) < 2 or words[0] not in _OPERATORS:
        return have == wanted
    try:
        return _OPERATORS[words[0]](have, words[1])
    except (TypeError, ValueError):
        return False


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in _TRUE


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[object, str], bool]:
    return lambda have, wanted: compare(float(str(have)), float(wanted))


def _texts(compare: Callable[[str, str], bool]) -> Callable[[object, str], bool]:
    return lambda have, wanted: compare(str(have), wanted)


_OPERATORS: Mapping[str, Callable[[object, str], bool]] = {
    "=": _numbers(operator.ge),
    "<in>": lambda have, wanted: wanted in str(have),
    "<is>": lambda have, wanted: _is_true(have) is _is_true(wanted),
    "==": _numbers(operator.eq),
    "!=": _numbers(operator.ne),
    ">=": _numbers(operator.ge),
    "<=": _numbers(operator.le),
    "s==": _texts(operator.eq),
    "s!=": _texts(operator.ne),
    "s<": _texts(operator.lt),
    "s<=": _texts(operator.le),
    "s>": _texts(operator.gt),
    "s>=": _texts(operator.ge),
}
