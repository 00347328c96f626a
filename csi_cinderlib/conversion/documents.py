"""Writes the converted documents."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from csi_cinderlib.conversion import secrecy
from csi_cinderlib.conversion.model import Conversion, ConvertedBackend, Note, Verdict

BACKENDS_KEY = "backends.yaml"
"""Key in the Secret with whole back ends; the controller reads keys that end in .yaml."""
SECRETS_DIRECTORY = "/etc/csi-cinderlib/converted"
"""Mount point of the secrets of `chart` in the controller's container."""
_PLAIN = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u1fff]*")

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")

Json = dict[str, Any]


class _Quoted(str):
    __slots__ = ()


class _Block(str):
    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes, so that no reader takes it for a number or a switch."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        return super().increase_indent(flow, False)


def _quoted(dumper: yaml.SafeDumper, text: _Quoted) -> yaml.Node:
    style = "'" if _PLAIN.fullmatch(text) and "'" not in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


def _block(dumper: yaml.SafeDumper, text: _Block) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


_Dumper.add_representer(_Quoted, _quoted)
_Dumper.add_representer(_Block, _block)


def config(conversion: Conversion) -> str:
    """A configuration of csi-cinderlib, with secrets."""
    document: Json = {"backends": _backends(conversion.backends)}
    if conversion.cinder_defaults:
        document["cinder_defaults"] = _values(conversion.cinder_defaults)
    document |= conversion.settings
    return _head(conversion, "Settings for csi-cinderlib, with passwords in plain text.") + _dump(document)


def secret(conversion: Conversion, name: str) -> str:
    """A Secret with whole back ends, for the chart's `backendSecrets`."""
    return _head(conversion, "A Secret for the chart's backendSecrets.") + _dump(_secret_of_backends(conversion, name))


def objects(conversion: Conversion, name: str) -> str:
    """For each back end, a BackendConfiguration and, for its secret options, a Secret."""
    head = _head(conversion, "Back ends as objects, and Secrets with their passwords.")
    made = [item for backend in conversion.backends for item in _objects_of(backend, secret_name(name, backend))]
    return head + "---\n".join(map(_dump, made))


def secret_name(name: str, backend: ConvertedBackend) -> str:
    """The name of the Secret of a back end; "" if it needs none."""
    from csi_cinderlib.persistence.kubernetes.statuses import object_name

    return f"{name}-{object_name(backend.name)}" if backend.secret & backend.options.keys() else ""


def _objects_of(backend: ConvertedBackend, secret: str) -> Iterator[Json]:
    from csi_cinderlib.persistence.kubernetes.configurations import manifest

    hidden = {option: text_of(backend.options[option]) for option in backend.secret & backend.options.keys()}
    open_ = {option: value for option, value in backend.options.items() if option not in hidden}
    spec: Json = {"driver": backend.driver}
    if open_:
        spec["options"] = _values(open_)
    if secret:
        spec["secretRef"] = {"name": secret}
        texts = {option: text for option, text in sorted(hidden.items()) if text is not None}
        # The reader removes one newline.
        yield _secret(
            secret, {key: _Quoted(f"{text}\n" if text.endswith("\n") else text) for key, text in texts.items()}
        )
    yield manifest(backend.name, spec)


def text_of(value: object) -> str | None:
    """The value of an option as one text, as a key of a Secret holds it, or None if it has no such form."""
    if isinstance(value, list):
        if len(value) == 1:
            return text_of(value[0])
        plain = all(not isinstance(item, list | Mapping) and _is_plain(item) for item in value)
        return ",".join(map(str, value)) if plain else None
    if isinstance(value, Mapping):
        plain = all(not isinstance(item, list | Mapping) and _is_plain(item) for item in value.values())
        return ",".join(f"{key}:{item}" for key, item in value.items()) if plain else None
    return str(value)


def _is_plain(item: object) -> bool:
    return not set(str(item)) & set(",\"'\\\n") and str(item).strip() == str(item)


def _secret_of_backends(conversion: Conversion, name: str) -> Json:
    return _secret(name, {BACKENDS_KEY: _Block(_dump(_backends(conversion.backends)))})


def chart(conversion: Conversion, name: str) -> tuple[str, str]:
    """The chart's values, and a Secret with the secrets that the values refer to as files; "" if there are none."""
    secrets: dict[str, str] = {}
    backends = {
        backend.name: {
            "driver": backend.driver,
            **({"options": _without_secrets(backend, secrets)} if backend.options else {}),
        }
        for backend in conversion.backends
    }
    values: Json = {"backends": backends}
    if secrets:
        values["controller"] = {
            "volumes": [{"name": "converted", "secret": {"secretName": name, "defaultMode": 0o440}}],
            "volumeMounts": [{"name": "converted", "mountPath": SECRETS_DIRECTORY, "readOnly": True}],
        }
    if defaults := open_defaults(conversion):
        values["cinderDefaults"] = _values(defaults)
    values |= {
        {"log": "logging"}.get(key, key): value
        for key, value in conversion.settings.items()
        if key in ("multipath", "log")
    }
    head = _head(conversion, "Values for the chart csi-cinderlib.")
    if not secrets:
        return head + _dump(values), ""
    quoted = {key: _Quoted(text) for key, text in secrets.items()}
    return head + _dump(values), _head(conversion, "A Secret for the chart's values.") + _dump(_secret(name, quoted))


def open_defaults(conversion: Conversion) -> Json:
    """The options of [DEFAULT] that are no passwords."""
    secrets = frozenset(
        text
        for backend in conversion.backends
        for name in backend.secret & backend.options.keys()
        for text in secrecy.texts_of(name, backend.options[name])
    )
    return {
        name: value
        for name, value in conversion.cinder_defaults.items()
        if not secrecy.is_secret_part(name, value, secrets)
    }


def _without_secrets(backend: ConvertedBackend, secrets: dict[str, str]) -> Json:
    known = frozenset(text for name in backend.secret for text in secrecy.texts_of(name, backend.options[name]))
    return {
        _key(name): _apart(value, f"{backend.name}.{name}", known, secrets) if name in backend.secret else _quote(value)
        for name, value in backend.options.items()
    }


def _apart(value: object, path: str, known: frozenset[str], secrets: dict[str, str]) -> object:
    """An option's value with `{file: PATH}` in place of secrets: the known secret parts of a mapping, otherwise the whole value."""
    whole = not secrecy.has_secret_part(value, known)

    def walk(value: object, path: str, *, secret: bool) -> object:
        if isinstance(value, list):
            return [walk(item, f"{path}.{index}", secret=secret) for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            return {
                _key(str(name)): walk(item, f"{path}.{name}", secret=whole or secrecy.is_secret_part(name, item, known))
                for name, item in value.items()
            }
        if not secret:
            return _quote(value)
        text, key = str(value), _free_key(path, secrets)
        secrets[key] = f"{text}\n" if text.endswith("\n") else text  # the reader removes one newline
        return {"file": _Quoted(f"{SECRETS_DIRECTORY}/{key}")}

    return walk(value, path, secret=True)


def _free_key(path: str, taken: Mapping[str, str]) -> str:
    """An unused key of a Secret, which may have letters, digits, dots, dashes and underscores."""
    base = re.sub(r"[^-._A-Za-z0-9]", "-", path)[:200]
    return next(
        key for number in itertools.count(1) if (key := base if number == 1 else f"{base}.{number}") not in taken
    )


def _backends(backends: tuple[ConvertedBackend, ...]) -> Json:
    return {
        backend.name: {"driver": backend.driver, **({"options": _values(backend.options)} if backend.options else {})}
        for backend in backends
    }


def _values(options: Mapping[str, object]) -> Json:
    return {_key(name): _quote(value) for name, value in options.items()}


def _quote(value: object) -> object:
    if isinstance(value, str):
        return _Quoted(value)
    if isinstance(value, list):
        return [_quote(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(str(name)): _quote(item) for name, item in value.items()}
    return value


def _key(name: str) -> str:
    return name if _WORD.fullmatch(name) else _Quoted(name)


def _secret(name: str, data: Mapping[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "stringData": dict(data),
    }


def _head(conversion: Conversion, title: str) -> str:
    """Comments with the title and the items that could not be converted."""
    lines = [f"{title} Converted from {conversion.product}'s configuration by csi-cinderlib convert."]
    lines += [
        f"NOT CONVERTED: {_where(note)}: {note.reason}" for note in conversion.notes if note.verdict is Verdict.FAILED
    ]
    return "".join(f"# {_printable(' '.join(line.split()))}\n" for line in lines)


def _printable(text: str) -> str:
    """Escape a name, so that it cannot end the comment."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def _where(note: Note) -> str:
    return f"backends.{note.backend}.{note.item}" if note.backend else note.item


def _dump(document: object) -> str:
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100_000
    )
    return text
