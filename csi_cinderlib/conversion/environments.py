"""Reads environment files, and the environments of containers in Kubernetes manifests."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Mapping

from csi_cinderlib.conversion.trees import Tree
from csi_cinderlib.errors import ConfigurationError

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod", "CronJob"})


def parse(text: str, place: str) -> dict[str, str]:
    """The variables of an environment file, as read by a shell, systemd or a container runtime.

    Raises:
        ConfigurationError: with the number of the line, without its text.
    """
    variables: dict[str, str] = {}
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        found = ASSIGNMENT.match(line)
        if found is None:
            raise ConfigurationError(place, f"line {number} must be an assignment NAME=VALUE")
        value = found["value"]
        while value[:1] in ("'", '"') and not _is_closed(value):
            more = next(lines, None)
            if more is None:
                raise ConfigurationError(
                    place, f"line {number}: the value of {found['name']} has no closing quotation mark"
                )
            value += f"\n{more[1]}"
        variables[found["name"]] = _unquoted(value)
    return variables


def _is_closed(value: str) -> bool:
    try:
        shlex.split(value)
    except ValueError:
        return False
    return True


def _unquoted(value: str) -> str:
    """Remove a shell's quotation marks around a value. A container runtime keeps those inside, as in JSON."""
    if value[:1] not in ("'", '"'):
        return value.rstrip()
    words = shlex.split(value, comments=True)
    return words[0] if words else ""


def of_manifests(documents: list[Tree], place: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The environments of containers with the names of their workloads. References to Secrets and ConfigMaps are resolved.

    Raises:
        ConfigurationError: a Secret is not base64.
    """
    objects = list(_objects(documents))
    held = {
        (str(item.get("kind")), _name(item)): _data(item, place)
        for item in objects
        if item.get("kind") in ("Secret", "ConfigMap")
    }
    for item in objects:
        if item.get("kind") in _WORKLOADS:
            for container in _containers(item):
                yield _name(item), _environment(container, held)
    if not any(item.get("kind") in _WORKLOADS for item in objects):
        for (_kind, name), data in held.items():
            yield name, data


def of_kind(documents: list[Tree], kind: str) -> Iterator[tuple[str, dict[str, Tree]]]:
    """The objects of a kind with their names."""
    for item in _objects(documents):
        if item.get("kind") == kind:
            yield _name(item), item


def _objects(documents: list[Tree]) -> Iterator[dict[str, Tree]]:
    for document in documents:
        if isinstance(document, list):
            yield from _objects(document)
        elif isinstance(document, dict):
            items = document.get("items")
            if isinstance(items, list) and str(document.get("kind", "")).endswith("List"):
                yield from _objects(items)
            else:
                yield document


def _name(item: Mapping[str, Tree]) -> str:
    metadata = item.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _data(item: Mapping[str, Tree], place: str) -> dict[str, str]:
    """The content of a Secret or ConfigMap as text."""
    encoded, plain = item.get("data") or {}, item.get("stringData") or {}
    found: dict[str, str] = {}
    for key, value in encoded.items() if isinstance(encoded, dict) else ():
        text = str(value or "")
        found[key] = _decoded(text, f"{place}: Secret {_name(item)}: {key}") if item.get("kind") == "Secret" else text
    return found | ({key: str(value or "") for key, value in plain.items()} if isinstance(plain, dict) else {})


def _decoded(text: str, place: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigurationError(place, "is not base64 text") from None


def _containers(workload: Mapping[str, Tree]) -> Iterator[dict[str, Tree]]:
    """The containers of a pod, or of a pod template at any depth."""
    spec = workload.get("spec")
    while isinstance(spec, dict):
        for key in ("initContainers", "containers"):
            several = spec.get(key)
            yield from (item for item in several or () if isinstance(item, dict)) if isinstance(several, list) else ()
        inner = spec.get("template") or spec.get("jobTemplate") or {}
        spec = inner.get("spec") if isinstance(inner, dict) else None


def _environment(container: Mapping[str, Tree], held: Mapping[tuple[str, str], dict[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in _mappings(container.get("envFrom")):
        for kind, key in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
            reference = source.get(key)
            if isinstance(reference, dict):
                prefix = str(source.get("prefix") or "")
                found |= {
                    prefix + name: text for name, text in held.get((kind, str(reference.get("name"))), {}).items()
                }
    for variable in _mappings(container.get("env")):
        text = _value(variable, held)
        if text is not None:
            found[str(variable.get("name"))] = text
    return found


def _value(variable: Mapping[str, Tree], held: Mapping[tuple[str, str], dict[str, str]]) -> str | None:
    """The value of a variable, with MISSING for an object that is not given; None for a field of the pod."""
    source = variable.get("valueFrom")
    if not isinstance(source, dict):
        return str(variable.get("value") or "")
    for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
        reference = source.get(key)
        if isinstance(reference, dict):
            data = held.get((kind, str(reference.get("name"))), {})
            return data.get(str(reference.get("key")), f"{MISSING}{kind} {reference.get('name')}")
    return None


MISSING = "\0missing: "
"""Prefix of a value in an object that is not given; the object follows."""


def _mappings(several: Tree) -> Iterator[dict[str, Tree]]:
    yield from (item for item in several if isinstance(item, dict)) if isinstance(several, list) else ()
