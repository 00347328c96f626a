"""What each release of Cinder had: options, classes and renamed drivers, read from the source without importing it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ROOMS = ("cinder/volume/", "cinder/brick/")
_PYTHON_2 = (
    (r"except\s+([\w.()\s,]+?)\s*,\s*(\w+)\s*:", r"except \1 as \2:"),
    (r"^(\s*)print\s+(?!\()(.+)$", r"\1print(\2)"),
    (r"^(\s*raise\s+[\w.]+(?:\[0\])?)\s*,\s*(.+)$", r"\1(\2)"),
    (r"\b0([0-7]{3,})\b", r"0o\1"),
    (r"(\d)L\b", r"\1"),
    (r"\bur(['\"])", r"r\1"),
    (r"\basync\b", "async_"),
    (r"<>", "!="),
)
"""What releases before Ussuri wrote that Python 3 cannot parse; exact enough for declarations of options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One declaration of an option.

    Attributes:
        old: names that it replaced, as the declaration says.
        choices: values that it allowed, if it listed them.
        reason: why it is deprecated.
    """

    name: str
    old: tuple[str, ...] = ()
    choices: frozenset[str] = frozenset()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """What one file declared."""

    options: tuple[Declared, ...] = ()
    drivers: frozenset[str] = frozenset()
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release: its modules by path."""

    tag: str
    commit: str
    modules: Mapping[str, Module]

    @property
    def options(self) -> Iterator[tuple[str, Declared]]:
        """Each with the path of its file."""
        for path, module in self.modules.items():
            for option in module.options:
                yield path, option

    @property
    def drivers(self) -> Iterator[str]:
        """Class paths."""
        for path, module in self.modules.items():
            for name in module.drivers:
                yield f"{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}.{name}"

    @property
    def mapping(self) -> Mapping[str, str]:
        """Cinder's own table of drivers that moved."""
        return {old: new for module in self.modules.values() for old, new in module.mapping.items()}


@dataclass(frozen=True, slots=True)
class _Source:
    """The parts of a parsed file that matter here."""

    options: tuple[ast.Call, ...]
    drivers: frozenset[str]
    mapping: Mapping[str, str]
    constants: Mapping[str, str]


class Clone:
    """A clone of Cinder. Files that several releases share are parsed once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sources: dict[str, _Source | None] = {}

    def release(self, tag: str) -> Release:
        sources = {path: source for path, source in self._files(tag) if source is not None}
        constants = {path: source.constants for path, source in sources.items()}
        modules = {path: _module(source, _scope(path, constants)) for path, source in sources.items()}
        return Release(tag=tag, commit=self._git("rev-parse", f"{tag}^{{commit}}").strip(), modules=modules)

    def _files(self, tag: str) -> Iterator[tuple[str, _Source | None]]:
        for line in self._git("ls-tree", "-r", tag, *_ROOMS).splitlines():
            details, _, path = line.partition("\t")
            if path.endswith(".py") and "/tests/" not in path:
                blob = details.split()[2]
                if blob not in self._sources:
                    self._sources[blob] = _source(self._git("cat-file", "blob", blob))
                if self._sources[blob] is None:
                    print(f"{tag}: {path} cannot be parsed", file=sys.stderr)
                yield path, self._sources[blob]

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._directory), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


def _source(text: str) -> _Source | None:
    tree = _parse(text)
    if tree is None:
        return None
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return _Source(
        options=tuple(call for call in calls if re.fullmatch(r"(?!Deprecated)\w*Opt", _called(call))),
        drivers=frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef) and _is_driver(node)),
        mapping=_mapping(tree),
        constants=_constants(tree),
    )


def _parse(text: str) -> ast.Module | None:
    text = text.lstrip("\ufeff")
    try:
        return ast.parse(text)
    except SyntaxError:
        for pattern, replacement in _PYTHON_2:
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts that the module gives a name."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _scope(path: str, constants: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """What names of constants mean in that file: its own, then those of the modules beside it."""
    directory = path.rpartition("/")[0]
    beside = [names for other, names in constants.items() if other.rpartition("/")[0] == directory]
    return {name: text for names in (*beside, constants[path]) for name, text in names.items()}


def _module(source: _Source, scope: Mapping[str, str]) -> Module:
    options = tuple(option for call in source.options for option in _option(call, scope))
    return Module(options=options, drivers=source.drivers, mapping=source.mapping)


def _option(call: ast.Call, scope: Mapping[str, str]) -> Iterable[Declared]:
    """The option that a call such as `cfg.StrOpt("san_ip", ...)` declares, unless its name is computed."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    name = _text(call.args[0] if call.args else named.get("name"), scope)
    if not name:
        return []
    nodes = [named.get("deprecated_name"), *_deprecated_opts(named.get("deprecated_opts"))]
    old = {text.replace("-", "_") for node in nodes if (text := _text(node, scope))}
    declared = Declared(
        name=name.replace("-", "_"),
        old=tuple(sorted(old - {name.replace("-", "_")})),
        choices=frozenset(_choices(named.get("choices"))),
        reason=_text(named.get("deprecated_reason"), scope),
    )
    return [declared]


def _deprecated_opts(node: ast.expr | None) -> Iterator[ast.expr | None]:
    for call in ast.walk(node) if node is not None else ():
        if isinstance(call, ast.Call):
            named = {keyword.arg: keyword.value for keyword in call.keywords}
            yield call.args[0] if call.args else named.get("name")


def _choices(node: ast.expr | None) -> Iterator[str]:
    """The allowed values; a choice may come with its description."""
    values = getattr(node, "elts", [])
    for value in values:
        first = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(node: ast.expr | None, scope: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.Attribute):
        return scope.get(node.attr, "")
    return scope.get(node.id, "") if isinstance(node, ast.Name) else ""


def _is_driver(node: ast.ClassDef) -> bool:
    decorated = any("volumedriver" in ast.unparse(decorator) for decorator in node.decorator_list)
    return decorated or (bool(node.bases) and re.search(r"Driver$|^SolidFire$", node.name) is not None)


def _mapping(tree: ast.Module) -> Mapping[str, str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "MAPPING" for target in node.targets):
            found = ast.literal_eval(node.value)
            if isinstance(found, dict):
                return found
    return {}
