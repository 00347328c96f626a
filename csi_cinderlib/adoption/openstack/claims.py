"""PersistentVolumes and claims for the volumes of a plan, from a template. Pure.

The template is parsed before the values are filled in, so that no value can change the structure of a manifest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

import yaml

from csi_cinderlib.adoption.openstack.plan import Plan, PlannedVolume
from csi_cinderlib.errors import InvalidRequest

OPTION = "--claims"
_LONGEST = 63


def manifests(plan: Plan, template: str) -> list[dict[str, Any]]:
    """The objects of all volumes of a plan.

    Args:
        template: YAML documents with placeholders such as `${id}`; `$$` is a dollar sign.

    Raises:
        InvalidRequest: the template is not YAML, or makes invalid or equal objects.
    """
    documents = _documents(template)
    made = [_filled(document, _values(volume)) for volume in plan.volumes for document in documents]
    _check(plan, made)
    return made


def text(objects: list[dict[str, Any]]) -> str:
    return str(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, explicit_start=True))


def _documents(template: str) -> list[Any]:
    try:
        documents = [document for document in yaml.safe_load_all(template) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidRequest(OPTION, f"the template is not YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise InvalidRequest(OPTION, "the template must contain Kubernetes objects")
    return documents


def _values(volume: PlannedVolume) -> Mapping[str, str]:
    return {
        "id": volume.id,
        "name": volume.name,
        "dns_name": _dns_name(volume),
        "size": f"{volume.gib}Gi",
        "project": volume.project,
        "type": volume.type,
        "backend": volume.backend,
        "pool": volume.pool,
    }


def _dns_name(volume: PlannedVolume) -> str:
    """A name for Kubernetes: that in Cinder as far as possible, with the id. Names in Cinder are not unique, and tenants choose them."""
    plain = re.sub(r"[^a-z0-9]+", "-", volume.name.lower()).strip("-")
    return f"{plain[: _LONGEST - len(volume.id) - 1].rstrip('-') or 'volume'}-{volume.id}"


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    return _substituted(value, values) if isinstance(value, str) else value


def _substituted(text: str, values: Mapping[str, str]) -> str:
    try:
        return Template(text).substitute(values)
    except KeyError as unknown:
        raise InvalidRequest(
            OPTION, f"unknown placeholder ${{{unknown.args[0]}}}; known: {', '.join(values)}"
        ) from None
    except ValueError:
        raise InvalidRequest(OPTION, f"{text!r} has an invalid placeholder; write ${{NAME}}, or $$ for $") from None


def _check(plan: Plan, made: list[dict[str, Any]]) -> None:
    """Raises InvalidRequest unless each volume has one PersistentVolume, and all objects have names of their own."""
    for identity, count in Counter(map(_identity, made)).items():
        if count > 1:
            raise InvalidRequest(
                OPTION, f"the template makes {count} objects {' '.join(identity)}; use ${{id}} in the name"
            )
    handles = Counter(_handles(made))
    for volume in plan.volumes:
        if handles[volume.id] != 1:
            raise InvalidRequest(
                OPTION, "the template must make one PersistentVolume for each volume, with spec.csi.volumeHandle: ${id}"
            )


def _identity(item: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = item.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if not item.get("kind") or not metadata.get("name"):
        raise InvalidRequest(OPTION, "each object of the template needs kind and metadata.name")
    return tuple(filter(None, (str(item["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]))))


def _handles(made: list[dict[str, Any]]) -> Iterator[str]:
    for item in made:
        spec = item.get("spec")
        csi = spec.get("csi") if isinstance(spec, dict) else None
        if item.get("kind") == "PersistentVolume" and isinstance(csi, dict):
            yield str(csi.get("volumeHandle"))
