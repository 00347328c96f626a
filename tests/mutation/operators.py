"""Mutation operators that mutmut lacks: for statements, conditions, locks, exception handlers and decorated functions.

mutmut's own operators replace values and operators. Defects that lose data are often of another kind: a missing check, a lock
that is not taken, an error that is swallowed, a clean-up that is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import libcst as cst
import libcst.matchers as m
from mutmut.mutation import file_mutation, mutators

_PASS = cst.Pass()
_TRUE, _FALSE = cst.Name("True"), cst.Name("False")
_NO_ERROR = cst.Tuple([], lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
_LOGGED = m.Call(func=m.Attribute(value=m.Name("_log")))
_FAULT_POINT = m.Call(func=m.Name("reach") | m.Attribute(value=m.Name("faultpoints")))
_UNMUTATED = _LOGGED | _FAULT_POINT
_KEPT_DECORATORS = m.Name("property") | m.Name("contextmanager") | m.Attribute(attr=m.Name("contextmanager"))


_REPLACED = (mutators.operator_string, mutators.operator_arg_removal)


def install() -> None:
    """Let mutmut use these operators from now on, in this process and its children."""
    mutators.mutation_operators[:] = [  # type: ignore[index]  # it is a list
        *(pair for pair in mutators.mutation_operators if pair[1] not in _REPLACED),
        (cst.BaseString, _string),
        (cst.Call, _change_argument),
        (cst.Expr, _drop_call),
        (cst.Raise, _drop_raise),
        (cst.If, _force_condition),
        (cst.With, _drop_context),
        (cst.ExceptHandler, _drop_handler),
        (cst.ComparisonTarget, _drop_member),
    ]
    visitor: Any = file_mutation.MutationVisitor
    skips = visitor._skip_node_and_children
    arrange: Any = file_mutation.function_trampoline_arrangement

    def skip(self: Any, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and _is_kept(node):
            return False
        if isinstance(node, cst.Raise):
            self._create_mutations(node)
        return _is_unobserved(node) or skips(self, node)

    def arrange_decorated(function: cst.FunctionDef, mutants: Any, class_name: str | None) -> Any:
        """mutmut skips decorated functions. These mutants are undecorated and are called behind the original's decorator."""
        if not _is_kept(function):
            return arrange(function, mutants, class_name)
        empty, nodes, assignments, names = arrange(function.with_changes(decorators=()), mutants, class_name)
        trampoline = nodes[0].with_changes(decorators=(*function.decorators, *nodes[0].decorators))
        return empty, [trampoline, *nodes[1:]], assignments, names

    visitor._skip_node_and_children = skip
    file_mutation.function_trampoline_arrangement = arrange_decorated


def _is_kept(function: cst.FunctionDef) -> bool:
    return len(function.decorators) == 1 and m.matches(function.decorators[0].decorator, _KEPT_DECORATORS)


def _is_unobserved(node: cst.CSTNode) -> bool:
    """Logging, fault points, the arguments of exceptions, and prose."""
    if isinstance(node, cst.Assign | cst.Arg):
        return _is_prose(node.value)
    return m.matches(node, _UNMUTATED) or isinstance(node, cst.Raise | cst.Assert) or _is_prose(node)


def _is_prose(node: cst.CSTNode) -> bool:
    """Text for people, recognised by a space."""
    if isinstance(node, cst.SimpleString):
        return " " in node.value
    if isinstance(node, cst.FormattedString):
        return any(isinstance(part, cst.FormattedStringText) and " " in part.value for part in node.parts)
    if isinstance(node, cst.IfExp):
        return _is_prose(node.body) and _is_prose(node.orelse)
    return isinstance(node, cst.ConcatenatedString)


def _string(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """One mutant of each string; upper and lower case add nothing."""
    yield from list(mutators.operator_string(node))[:1]


def _change_argument(node: cst.Call) -> Iterator[cst.Call]:
    """As in mutmut, except for prose."""
    for mutant in mutators.operator_arg_removal(node):
        kept = {id(argument) for argument in mutant.args}
        if not any(_is_prose(argument.value) for argument in node.args if id(argument) not in kept):
            yield mutant


def _drop_call(node: cst.Expr) -> Iterator[cst.BaseSmallStatement]:
    if isinstance(node.value, cst.Call) and not m.matches(node.value, _UNMUTATED):
        yield _PASS


def _drop_raise(_node: cst.Raise) -> Iterator[cst.BaseSmallStatement]:
    yield _PASS


def _force_condition(node: cst.If) -> Iterator[cst.If]:
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.BooleanOperation(test, cst.And(), _FALSE))
    yield node.with_changes(test=cst.BooleanOperation(test, cst.Or(), _TRUE))


def _drop_context(node: cst.With) -> Iterator[cst.BaseCompoundStatement]:
    """Each context without a name: a lock, a suppressed error."""
    for index, item in enumerate(node.items):
        if item.asname is not None:
            continue
        others = _without(node.items, index)
        if others:
            yield node.with_changes(items=others)
        else:
            yield cst.If(test=_TRUE, body=node.body, leading_lines=node.leading_lines)


def _drop_handler(node: cst.ExceptHandler) -> Iterator[cst.ExceptHandler]:
    """Each exception that is caught."""
    if isinstance(node.type, cst.Tuple):
        for index in range(len(node.type.elements)):
            yield node.with_changes(type=node.type.with_changes(elements=_without(node.type.elements, index)))
    elif node.type is not None:
        yield node.with_changes(type=_NO_ERROR, whitespace_after_except=cst.SimpleWhitespace(" "))


def _drop_member(node: cst.ComparisonTarget) -> Iterator[cst.ComparisonTarget]:
    """Each of the values that something may be `in`."""
    values = node.comparator
    if isinstance(values, cst.Set | cst.Tuple) and len(values.elements) > 1:
        for index in range(len(values.elements)):
            yield node.with_changes(comparator=values.with_changes(elements=_without(values.elements, index)))


def _without(items: Sequence[Any], index: int) -> list[Any]:
    """All items but one, with commas where they are needed."""
    return [item.with_changes(comma=cst.MaybeSentinel.DEFAULT) for item in (*items[:index], *items[index + 1 :])]
