"""The log events of the package: fixed phrases in lower case, with the variable data in values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "csi_cinderlib"
LEVELS = ("debug", "info", "warning", "error", "exception")
FORWARDED = {"retry": 2}
"""Functions that log an event of their caller, and its position among their arguments."""
PROPER_NAMES = ("HTTP", "TLS", "iSCSI", "[DEFAULT]", "[backend_defaults]")
PLAIN = re.compile(rf"(?:[a-z]|{'|'.join(map(re.escape, PROPER_NAMES))})[^%{{}}\n]*")
MEMBERS = {"time", "level", "logger", "event", "request", "exception"}
"""Keys that each line has; a value must not replace them."""


def problems(source: str) -> list[str]:
    """Each wrong log call of a module, with the number of its line."""
    tree = ast.parse(source)
    is_own = "logs.logger(" in source  # `config` is below `observe` and logs with the standard library
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (event := _event(node)) is not None:
            texts = list(_texts(event, tree))
            if not texts or (is_own and not all(map(PLAIN.fullmatch, texts))):
                found.append(f"{node.lineno}: the event is not a fixed phrase in lower case")
            if is_own and len(node.args) > FORWARDED.get(_name(node), _level(node) == "exception") + 1:
                found.append(f"{node.lineno}: values have no keys")
            if clash := MEMBERS & {keyword.arg for keyword in node.keywords}:
                found.append(f"{node.lineno}: a value has the key {', '.join(clash)}")
    return found + [f"{line}: a handled error is logged without its reason" for line in _without_reason(tree)]


def _level(call: ast.Call) -> str:
    """The level of a log call, also of `(_log.debug if x else _log.info)(...)`; "" for other calls."""
    methods = (call.func.body, call.func.orelse) if isinstance(call.func, ast.IfExp) else (call.func,)
    for method in methods:
        if isinstance(method, ast.Attribute) and method.attr in LEVELS and ast.unparse(method.value) == "_log":
            return method.attr
    return ""


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _event(call: ast.Call) -> ast.expr | None:
    if _level(call):
        return call.args[0] if call.args else ast.Constant(None)
    return call.args[FORWARDED[_name(call)]] if _name(call) in FORWARDED else None


def _texts(event: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The possible events; none if they are not constants."""
    match event:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=ast.Constant(value=str(text)), orelse=ast.Constant(value=str(other))):
            yield from (text, other)
        case ast.Name(id=name):
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
                    yield from _texts(node.value, tree) if not isinstance(node.value, ast.Name) else ()
                elif isinstance(node, ast.FunctionDef) and node.name in FORWARDED:
                    yield from [argument.arg for argument in node.args.args if argument.arg == name]


def _without_reason(tree: ast.Module) -> Iterator[int]:
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.name:
            for node in ast.walk(handler):
                if (
                    isinstance(node, ast.Call)
                    and _level(node) in ("info", "warning", "error")
                    and not _has_reason(node)
                ):
                    yield node.lineno


def _has_reason(call: ast.Call) -> bool:
    return "reason" in {keyword.arg for keyword in call.keywords}


def test_events_are_fixed_phrases_and_their_data_are_values() -> None:
    found = {
        str(path.relative_to(PACKAGE)): wrong
        for path in sorted(PACKAGE.rglob("*.py"))
        if (wrong := problems(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "call",
    [
        '_log.info(f"volume {id} deleted")',
        '_log.info("volume %s deleted", id)',
        '_log.info("volume {} deleted".format(id))',
        '_log.info("Volume deleted")',
        '_log.info("volume deleted", id)',
        '_log.info("volume deleted", event=id)',
        "_log.warning(reason)",
        '(_log.debug if quiet else _log.info)("volume %s")',
        'retry(attempt, stopping, f"start of {name} failed")',
        'retry(attempt, stopping, "start failed", name)',
        'try: act()\nexcept OSError as error: _log.warning("start failed")',
    ],
)
def test_a_wrong_log_call_is_found(call: str) -> None:
    assert problems(f"_log = logs.logger(__name__)\n{call}")


@pytest.mark.parametrize(
    "call",
    [
        '_log.info("volume deleted", volume=id, **values)',
        '_log.info("ready" if ready else "not ready")',
        '_log.exception("call", error, **values)',
        'event = "a" if x else "b"\n_log.info(event)',
        'retry(attempt, stopping, "start failed", backend=name)',
        'logger.info("%s", x)',
    ],
)
def test_a_correct_log_call_is_not_found(call: str) -> None:
    assert problems(f"_log = logs.logger(__name__)\n{call}") == []
