"""YAML with scalars as text exactly as written. Anchors, aliases and merge keys work as usual."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from csi_cinderlib.config.tree import Budget, Place, Scalar, Style, too_deep, whole
from csi_cinderlib.errors import ConfigurationError

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_TYPED = frozenset({f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}timestamp"})
_MERGE = "<<"

_EXPLAINED: Mapping[str, str] = MappingProxyType(
    {
        "found character '\\t' that cannot start any token": "found a tab; indent with spaces, and write a tab in text as "
        '"\\t" in double quotes',
        "found character": "{problem}; put text that begins with it in quotes",
        "mapping values are not allowed here": "{problem}; put text with a colon and a space in quotes",
        "found undefined alias": "alias without an anchor; put text that begins with * in quotes",
        "found undefined tag handle": "unknown tag; put text that begins with ! in quotes",
        "found unknown escape character": "{problem}; write a backslash twice in double quotes, or use single quotes",
        "second occurrence": "anchor defined twice; rename one",
        "but found another document": "second document found; a configuration file must contain one document",
    }
)
"""Our messages by the beginnings of PyYAML's: with the next step, and without quoted text, which may be a password."""


def parse(path: Path, text: str) -> object:
    """The tree of a document, see `document.read`. Raises ConfigurationError with the line."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            loader.refuse_lost_text()
            return None if node is None else _Tree(path).build(node, 0)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigurationError(where, _explain(error.problem or "is not YAML")) from None
    except yaml.YAMLError as error:
        raise ConfigurationError(str(path), f"is not YAML: {error}") from None
    except RecursionError:
        raise too_deep(path) from None


def _explain(problem: str) -> str:
    for beginning, instead in _EXPLAINED.items():
        if problem.startswith(beginning):
            return instead.format(problem=problem)
    return problem


class _Loader(yaml.SafeLoader):
    """Composes nodes with all plain scalars as text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # like the base class

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._anchored: dict[str, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._anchored.pop(self._event().anchor, None)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        event = self._event()
        if event.style is None and event.tag == "!":
            raise _Wrong("put text that begins with ! in quotes", event.start_mark)
        node = super().compose_scalar_node(anchor)
        if anchor is not None:
            self._anchored[anchor] = node
        return node

    def _event(self) -> Any:
        return self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs

    def refuse_lost_text(self) -> None:
        """Refuse unused anchors: they are most likely the beginning of a password."""
        for node in self._anchored.values():
            raise _Wrong("unused anchor; put text that begins with & in quotes", node.start_mark)


class _Wrong(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Tree:
    """From nodes to dicts, lists and Scalars."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._budget = Budget(path)
        self._within: set[int] = set()

    def build(self, node: Any, depth: int) -> object:
        if isinstance(node, yaml.ScalarNode):
            self._budget.spend(node.value, depth)
            return self._scalar(node)
        self._budget.spend("", depth)
        if id(node) in self._within:
            raise _Wrong("an alias must not refer to a node around it", node.start_mark)
        self._within.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                _refuse_tag(node, f"{_TAG}seq")
                return [self.build(item, depth + 1) for item in node.value]
            _refuse_tag(node, f"{_TAG}map")
            return self._mapping(node, depth)
        finally:
            self._within.remove(id(node))

    def _mapping(self, node: Any, depth: int) -> dict[Scalar, object]:
        own: dict[Scalar, object] = {}
        merged: dict[Scalar, object] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in seen:
                raise _Wrong(f"the key {str(key)!r} occurs twice; remove one", key_node.start_mark)
            seen.add(key)
            if key == _MERGE and key.style is Style.PLAIN:
                merged = self._merged(value_node, depth)
            else:
                self._budget.spend(key, depth)
                own[key] = self.build(value_node, depth + 1)
        return {**merged, **own}

    def _merged(self, node: Any, depth: int) -> dict[Scalar, object]:
        """Merge several mappings; for each key the first one counts."""
        found: dict[Scalar, object] = {}
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            built = self.build(item, depth + 1)
            if not isinstance(built, dict):
                raise _Wrong("<< must be followed by a mapping or a list of mappings", item.start_mark)
            found = {**built, **found}
        return found

    def _key(self, node: Any) -> Scalar:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if key is None:
            raise _Wrong("a key must be text", node.start_mark)
        return key

    def _scalar(self, node: yaml.ScalarNode) -> Scalar | None:
        place = Place(self._path, node.start_mark.line + 1)
        if node.tag == f"{_TAG}null" or (node.tag == _TEXT and node.style is None and node.value == ""):
            return None
        if node.tag in _TYPED:
            return Scalar(node.value, Style.PLAIN, place)
        _refuse_tag(node, _TEXT)
        try:
            return Scalar(whole(node.value), Style.PLAIN if node.style is None else Style.QUOTED, place)
        except UnicodeDecodeError:
            raise _Wrong("contains an unpaired surrogate", node.start_mark) from None


def _refuse_tag(node: Any, usual: str) -> None:
    """The message names only standard tags: others may be passwords that begin with !."""
    if node.tag == usual:
        return
    known = f"!!{node.tag.removeprefix(_TAG)}" if node.tag.startswith(_TAG) else "this"
    raise _Wrong(f"tags such as {known} are not supported; put text that begins with ! in quotes", node.start_mark)
