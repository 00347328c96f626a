"""Reads the spec of a BackendConfiguration object. Error messages have the key path in the object, for example `spec.options.san_ip`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from csi_cinderlib.config import check
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import BackendSettings, Written
from csi_cinderlib.config.tree import Budget, Scalar, Style, whole
from csi_cinderlib.errors import ConfigurationError, Problem
from csi_cinderlib.observe import redact

Spec = Mapping[str, Any]

FINALIZER = "cinderlib.io/volumes"
"""Keeps an object as long as its back end has volumes."""
LIMITS: Mapping[str, str] = {"maxConcurrentCalls": "max_concurrent_calls", "statsSeconds": "stats_seconds"}
"""Keys of `spec.limits`, and the settings that they become."""
_DIRECT = ("driver", "topology", "pools", "paused", "drained")
_KEYS = (*_DIRECT, "name", "options", "secretRef", "limits")
_FIELDS = {setting: f"limits.{key}" for key, setting in LIMITS.items()}
_PRIVATE = re.compile(r"(^|/)(run/secrets|etc/csi-cinderlib)(/|$)|^/*(proc|dev/fd)(/|$)")
"""Below these directories lie the token, the Secrets and the environment of the controller."""
_BETWEEN_PATHS = re.compile(r"""[,;:=\s"']+""")
_NO_PASSWORDS = frozenset({"rbd_secret_uuid"})
"""Options with the name of a password that hold none: this one is the name of a secret of libvirt."""
_NO_FILE = Path("BackendConfiguration")


def secret_name(spec: Spec) -> str:
    """The Secret to which a spec refers, or ""."""
    reference = spec.get("secretRef")
    return str(reference.get("name") or "") if isinstance(reference, Mapping) else ""


def read(name: str, spec: Spec, secret: Mapping[str, bytes] | None) -> BackendSettings:
    """The settings of the back end. Topology keys are as written.

    Args:
        name: of the back end.
        secret: the data of the Secret of `secretRef`: further options by their names; None without a `secretRef`.

    Raises:
        ConfigurationError: all problems.
    """
    reader = Reader({}, refers=False)
    tree = reader.mapping(_tree(spec, Budget(_NO_FILE), 0), "spec")
    for key in tree.keys() - set(_KEYS):
        reader.problems.add(f"spec.{key}", unknown("key", str(key), _KEYS))
    values: dict[str, object] = {key: tree[key] for key in _DIRECT if key in tree}
    with reader.problems:
        values |= _limits(reader, tree.get("limits"))
    settings = reader.record(BackendSettings, values, "spec", name=name, options={}, directory="")
    options = _options(reader, tree.get("options"), "spec.options")
    _refuse_passwords(reader, options)
    settings = replace(settings, options=options)
    if secret is not None:
        known = secret_name(spec)
        hidden = _secret_options(reader, known, secret, options)
        written = {key.replace("-", "_"): key for key in secret}
        origins = {option: origin(known, written.get(option, option)) for option in hidden}
        settings = replace(settings, options={**options, **hidden}, origins=origins)
    _refuse_private_files(reader, settings)
    with reader.problems:
        check.backend(settings)
    try:
        reader.problems.raise_all()
    except ConfigurationError as error:
        raise in_object(error, name) from None
    return settings


def in_object(error: ConfigurationError, name: str) -> ConfigurationError:
    """The error with the key paths of the object."""
    first, *more = (Problem(path_in_object(key, name), problem) for key, problem in error.problems)
    return ConfigurationError(first.key, first.problem, more)


def path_in_object(text: str, name: str) -> str:
    """A text in which key paths of the back end's configuration are those of its object: `backends.a.options.x` is `spec.options.x`."""
    text = re.sub(rf"(?<![\w.-])backends\.{re.escape(name)}(?![\w-])", "spec", text)
    for setting, key in _FIELDS.items():
        text = text.replace(f"spec.{setting}", f"spec.{key}")
    return text


def _limits(reader: Reader, raw: object) -> dict[str, object]:
    limits = reader.mapping(raw, "spec.limits")
    for key in limits.keys() - LIMITS.keys():
        reader.problems.add(f"spec.limits.{key}", unknown("key", str(key), LIMITS))
    return {setting: limits[key] for key, setting in LIMITS.items() if key in limits}


def _secret_options(
    reader: Reader, secret: str, data: Mapping[str, bytes], others: Mapping[str, object]
) -> dict[str, object]:
    """Each key of the Secret is an option. One line break at the end of a value is not part of it, as in files."""
    texts: dict[str, Scalar] = {}
    for key, value in data.items():
        path = origin(secret, key)
        with reader.problems:
            if key.replace("-", "_") in others:
                raise ConfigurationError(f"spec.options.{key}", f"is also a key of the Secret {secret!r}; remove one")
            try:
                text = value.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise ConfigurationError(path, "is not UTF-8 text") from None
            texts[key] = Scalar(text[:-2] if text.endswith("\r\n") else text.removesuffix("\n"), Style.ELSEWHERE)
    return _options(reader, texts, f"secret {secret}")


def origin(secret: str, key: str) -> str:
    """The key path of an option in a Secret."""
    return f"secret {secret}, key {key}"


def _refuse_passwords(reader: Reader, options: Mapping[str, object]) -> None:
    """Those who may read objects must not read passwords."""
    for key, value in options.items():
        if key.replace("-", "_") not in _NO_PASSWORDS and any(redact.secrets_in({key: value})):
            problem = "holds a password; put this option into the Secret of spec.secretRef"
            reader.problems.add(f"spec.options.{key}", problem)


def _refuse_private_files(reader: Reader, settings: BackendSettings) -> None:
    """A protection from mistakes: a driver may log what it reads, or send it to nodes. Those who write objects choose what runs here."""
    for key, value in settings.options.items():
        if any(map(_is_private, redact.texts_in(value))):
            path = settings.origins.get(key) or f"spec.options.{key}"
            reader.problems.add(path, "must not be a file with secrets of the controller")


def _is_private(text: str) -> bool:
    """Whether a text has such a path anywhere. Links are not resolved, since a share that hangs would block all back ends."""
    paths = [path for path in _BETWEEN_PATHS.split(text) if "/" in path]
    return any(_PRIVATE.search(form) for path in paths for form in (path, posixpath.normpath(path)))


def _options(reader: Reader, raw: object, path: str) -> dict[str, object]:
    """Options as far as they can be read."""
    read: object = {}
    with reader.problems:
        read = reader.value(Mapping[str, Written], raw, path)
    assert isinstance(read, dict)
    return read


def _tree(raw: object, budget: Budget, depth: int) -> object:
    """JSON values of the API as a tree. Numbers and switches are marked: another program may have read `012345` as 5349."""
    budget.spend(raw if isinstance(raw, str) else "", depth)
    if isinstance(raw, Mapping):
        return {Scalar(whole(key)): _tree(value, budget, depth + 1) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_tree(item, budget, depth + 1) for item in raw]
    if isinstance(raw, bool):
        return Scalar("true" if raw else "false", Style.LITERAL)
    if isinstance(raw, int | float):
        return Scalar(repr(raw), Style.LITERAL)
    return Scalar(whole(raw)) if isinstance(raw, str) else None
