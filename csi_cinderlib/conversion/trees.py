"""YAML and JSON as trees of text: scalars keep the characters they were written with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from csi_cinderlib.errors import ConfigurationError

Tree = str | list["Tree"] | dict[str, "Tree"] | None

_DEPTH = 40
_NODES = 200_000
_QUOTED = re.compile(r"""'[^']*'|"[^"]*"|<[^>]*>""")
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


def parse(text: str, place: str) -> list[Tree]:
    """All documents of a YAML or JSON text.

    Raises:
        ConfigurationError: names the line, and quotes nothing of the text.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [_checked(_loads(text, place), place)]
        except json.JSONDecodeError:
            pass  # it may be YAML in flow style
        except RecursionError:
            raise ConfigurationError(place, f"is nested more than {_DEPTH} levels deep") from None
    return list(_documents(text, place))


def parse_json(text: str, place: str) -> Tree:
    """One JSON text. Raises ConfigurationError."""
    try:
        return _checked(_loads(text, place), place)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            place, f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise ConfigurationError(place, f"is nested more than {_DEPTH} levels deep") from None


def _loads(text: str, place: str) -> object:
    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ConfigurationError(place, "has a key twice in one mapping")
        return dict(pairs)

    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=mapping)


def _checked(value: object, place: str, depth: int = 0) -> Tree:
    """JSON's switches as text."""
    if depth > _DEPTH:
        raise ConfigurationError(place, f"is nested more than {_DEPTH} levels deep")
    if isinstance(value, dict):
        return {str(key): _checked(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_checked(item, place, depth + 1) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _documents(text: str, place: str) -> Iterator[Tree]:
    try:
        for node in yaml.compose_all(text, Loader=_loader()):
            yield _Walk(place).tree(node, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigurationError(place, f"is not valid YAML: {where}{_unquoted(error.problem or '')}") from None
    except yaml.YAMLError:
        raise ConfigurationError(place, "is not valid YAML: it holds characters that YAML does not allow") from None
    except RecursionError:
        raise ConfigurationError(place, f"is nested more than {_DEPTH} levels deep") from None


def _unquoted(problem: str) -> str:
    """A parser's message without what it quotes: that may be a password."""
    return _QUOTED.sub("...", problem)


def _loader() -> type[yaml.SafeLoader]:
    """The one in C, which is ten times as fast, where PyYAML has it."""
    loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return loader


class _Walk:
    """Turns nodes into a tree. Aliases may make a small file very large, so nodes are counted."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._nodes = 0

    def tree(self, node: yaml.Node | None, depth: int) -> Tree:
        self._nodes += 1
        if depth > _DEPTH or self._nodes > _NODES:
            raise ConfigurationError(self._place, f"is nested more than {_DEPTH} levels deep, or has too many aliases")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.tree(item, depth + 1) for item in node.value]
        if node is None or node.tag == _NULL:
            return None
        return str(node.value)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Tree]:
        merged: dict[str, Tree] = {}
        own: dict[str, Tree] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                several = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for item in reversed(several):
                    found = self.tree(item, depth + 1)
                    merged |= found if isinstance(found, dict) else {}
                continue
            name = str(key.value)
            if name in own:
                raise ConfigurationError(
                    self._place, f"line {key.start_mark.line + 1}: the key is in this mapping twice"
                )
            own[name] = self.tree(value, depth + 1)
        return {**merged, **own}
