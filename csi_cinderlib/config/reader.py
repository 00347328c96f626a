"""Reads a tree into the dataclasses of `settings` by their type hints. Every error has the key path."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from csi_cinderlib.config import document, scalars
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import Written
from csi_cinderlib.config.tree import Scalar, Style
from csi_cinderlib.errors import ConfigurationError, Problems

T = TypeVar("T")
_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*(?:\?.*)?)")


class Reader:
    """Reads one tree of values and collects all problems.

    Args:
        environment: variables for `{env: NAME}`.
        directory: base of relative paths in values that come from no file.
        refers: whether values may be `{file: PATH}` or `{env: NAME}`. Who writes the values could read any file of this process with them.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path = Path(), *, refers: bool = True) -> None:
        self._environment = environment
        self._directory = directory
        self._refers = refers
        self.problems = Problems()

    def read(self, hint: Any, raw: object, path: str) -> object:
        """The value for a field with this type hint.

        Raises:
            ConfigurationError: all unknown and missing keys, and all values of the wrong type.
        """
        value = None
        with self.problems:
            value = self.value(hint, raw, path)
        self.problems.raise_all()
        return value

    def record(self, kind: type[T], raw: object, path: str, **given: object) -> T:
        """Make a `kind` from the mapping `raw`; `given` are fields that the mapping must not have.

        Problems are added to `problems`. A field with a wrong value gets its default.

        Raises:
            ConfigurationError: a field without a default is missing or wrong.
        """
        values = dict(given)
        hints = get_type_hints(kind, include_extras=True)
        fields = {item.name: item for item in dataclasses.fields(kind) if item.name not in given}  # type: ignore[arg-type]  # always a dataclass
        items = self.mapping(raw, path)
        for key, value in items.items():
            with self.problems:
                if key not in fields:
                    raise ConfigurationError(_join(path, key), unknown("key", str(key), fields) + scalars.place(key))
                values[str(key)] = self.value(hints[key], value, _join(path, key))
        required = {
            name for name, item in fields.items() if item.default is item.default_factory is dataclasses.MISSING
        }
        for name in sorted(required - items.keys()):
            self.problems.add(_join(path, name), "is missing" + scalars.place(next(iter(items), None)))
        if required - values.keys():
            self.problems.raise_all()
        return kind(**values)

    def mapping(self, raw: object, path: str) -> dict[str, object]:
        """The mapping with checked keys. An empty section is an empty mapping."""
        if raw is None or scalars.is_null(raw):
            return {}
        if not isinstance(raw, dict):
            raise scalars.wrong(dict, raw, path)
        for key in raw:
            if not isinstance(key, str):
                raise ConfigurationError(_join(path, str(key)), f"the key must be text; put {key!r} in quotes")
        return raw

    def value(self, hint: Any, raw: object, path: str) -> object:
        """As `read`, but problems inside the value are added to `problems`. Raises ConfigurationError only for the value as a whole."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is tuple:
            return self._several(arguments[0], raw, path)
        if origin is Mapping:
            return self._named(arguments[1], raw, path)
        if origin is Annotated:  # the path of a file
            return self._located(self._scalar(str, raw, path), raw)
        if dataclasses.is_dataclass(hint):
            return self.record(hint, raw, path)  # type: ignore[arg-type]  # a class, never an instance
        return self._scalar(hint, raw, path)

    def _scalar(self, hint: Any, raw: object, path: str) -> Any:
        value = scalars.convert(hint, self._resolve(raw, path), path)
        return Path(self._located(str(value), raw)) if hint is Path else value

    def _located(self, path: str, raw: object) -> str:
        """Resolve a relative path against the directory of its file."""
        is_complete = not path or path.startswith(("/", "unix:")) or "://" in path
        return path if is_complete else str(self._directory_of(raw) / path)

    def _directory_of(self, raw: object) -> Path:
        if isinstance(raw, dict):  # {file: PATH}
            raw = next(iter(raw), None)
        return raw.place.file.absolute().parent if isinstance(raw, Scalar) and raw.place else self._directory

    def _several(self, kind: Any, raw: object, path: str) -> tuple[object, ...]:
        """Records with a name are written as a mapping by name, others as a list."""
        if dataclasses.is_dataclass(kind) and "name" in get_type_hints(kind):
            return tuple(self._named(kind, raw, path).values())
        if raw is None or scalars.is_null(raw):
            return ()
        if not isinstance(raw, list):
            raise scalars.wrong(list, raw, path)
        read: list[object] = []
        for index, item in enumerate(raw):
            with self.problems:
                read.append(self.value(kind, item, f"{path}[{index}]"))
        return tuple(read)

    def _named(self, kind: Any, raw: object, path: str) -> Mapping[str, object]:
        items = self.mapping(raw, path)
        if kind == Written:
            return self._options(items, path)
        read: dict[str, object] = {}
        for key, value in items.items():
            with self.problems:
                read[str(key)] = self._item(kind, key, value, _join(path, key))
        return read

    def _item(self, kind: Any, key: str, raw: object, path: str) -> object:
        if kind is object:
            value = self._guessed(raw, path)
            return self._store_path(path, value, raw) if isinstance(value, str) else value
        if not dataclasses.is_dataclass(kind):
            return self.value(kind, raw, path)
        given: dict[str, object] = {"name": str(key)}
        if "directory" in get_type_hints(kind):
            given["directory"] = str(self._directory_of(key))
        return self.record(kind, raw, path, **given)  # type: ignore[arg-type]  # a class, never an instance

    def _store_path(self, path: str, value: str, raw: object) -> str:
        """A relative path in the options of the stores `kubernetes` and `sql` starts where other relative paths do."""
        if path == "store.options.kubeconfig":
            return self._located(value, raw)
        if path == "store.options.url" and (found := _RELATIVE_SQLITE.fullmatch(value)):
            return found[1] + self._located(found[2], raw)
        return value

    def _guessed(self, raw: object, path: str) -> object:
        """Options of a plugin."""
        value = self._resolve(raw, path)
        if isinstance(value, list):
            return [self._guessed(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {str(key): self._guessed(item, _join(path, key)) for key, item in value.items()}
        return scalars.guessed(value)

    def _options(self, items: Mapping[str, object], path: str) -> dict[str, object]:
        """Cinder's options, by names with underscores as in oslo.config. An option without a value keeps its default."""
        read: dict[str, object] = {}
        spellings: dict[str, str] = {}
        for key, raw in items.items():
            with self.problems:
                name = key.replace("-", "_")
                if name in spellings:
                    raise ConfigurationError(
                        _join(path, key), f"is also spelled {spellings[name]!r}; keep one{scalars.place(key)}"
                    )
                spellings[name] = str(key)
                value = self._resolve(raw, _join(path, key))
                if isinstance(value, list | dict):
                    read[name] = self._written(value, _join(path, key))
                else:
                    read[name] = None if value is None else scalars.option(name, value, _join(path, key))
        return read

    def _written(self, raw: object, path: str) -> object:
        """Lists and mappings of texts as written."""
        value = self._resolve(raw, path)
        if isinstance(value, list):
            items: list[object] = []
            for index, item in enumerate(value):
                with self.problems:
                    items.append(self._written(item, f"{path}[{index}]"))
            return items
        if isinstance(value, dict):
            pairs: dict[str, object] = {}
            for key, item in self.mapping(value, path).items():
                with self.problems:
                    pairs[str(key)] = self._written(item, _join(path, key))
            return pairs
        return scalars.text(value, path)

    def _resolve(self, raw: object, path: str) -> object:
        """The value, or the content of `{file: PATH}` or `{env: NAME}`."""
        if not isinstance(raw, dict) or not raw or not raw.keys() <= {"file", "env"}:
            return raw
        if not self._refers:
            raise ConfigurationError(
                path, "must not refer to a file or variable of the controller; put it into a Secret"
            )
        if len(raw) > 1:
            raise ConfigurationError(path, f"has file and env; keep one{scalars.place(next(iter(raw)))}")
        ((kind, where),) = raw.items()
        name = scalars.text(where, _join(path, kind))
        text = self._variable(name, path) if kind == "env" else _read(Path(self._located(name, raw)), path)
        return Scalar(text, Style.ELSEWHERE)

    def _variable(self, name: str, path: str) -> str:
        text = self._environment.get(name)
        if text is None:
            raise ConfigurationError(path, f"the environment variable {name} is not set")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ConfigurationError(path, f"the environment variable {name} is not UTF-8")
        return text


def _read(file: Path, path: str) -> str:
    """The text of a file without a byte order mark and one newline at the end."""
    try:
        text = document.read_bytes(file).decode("utf-8-sig")
    except ConfigurationError as error:
        raise ConfigurationError(path, f"the file {error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(path, f"the file {file} is not UTF-8 text") from None
    if "\0" in text:
        raise ConfigurationError(path, f"the file {file} contains a NUL character")
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)
