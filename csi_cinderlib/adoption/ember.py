"""Reads Ember-CSI's custom resources from files or from a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from csi_cinderlib.adoption.resources import GROUP, PLURALS, Item, is_resource
from csi_cinderlib.errors import ConfigurationError, InvalidRequest, Problem
from csi_cinderlib.persistence.kubernetes import rest

_PAGE = 500
_VERSION = "v1"


def from_files(texts: Sequence[tuple[str, str]]) -> tuple[Item, ...]:
    """The objects in files with the output of `kubectl get -o yaml` or `-o json`.

    Args:
        texts: name and text of each file.

    Raises:
        InvalidRequest: a file is not YAML, or none contains such an object.
    """
    items = tuple(item for name, text in texts for item in _parsed(name, text))
    if not items:
        raise InvalidRequest("FILE", f"contains no objects of {GROUP}; its kinds are {', '.join(PLURALS)}")
    return items


def _parsed(name: str, text: str) -> Iterator[Item]:
    try:
        for document in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            listed = document.get("items") if isinstance(document, dict) else None
            yield from filter(is_resource, listed if isinstance(listed, list) else [document])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1} " if mark else ""
        raise InvalidRequest(name, f"{where}is not YAML or JSON") from None


def from_cluster(kubeconfig: Path | None, namespace: str) -> tuple[Item, ...]:
    """The objects in a namespace; without a kubeconfig, this process must run in a pod.

    Raises:
        ConfigurationError: there is no access to a cluster, or it has no such objects.
        StoreUnavailable, rest.ApiError: the API server does not answer, or refuses.
    """
    try:
        access = rest.from_kubeconfig(kubeconfig) if kubeconfig else rest.in_cluster()
    except ConfigurationError as error:
        raise ConfigurationError.of(Problem("--kubeconfig", problem) for _, problem in error.problems) from None
    space = namespace or access.namespace
    with closing(rest.Client(access)) as client:
        items = tuple(item for kind in PLURALS for item in _listed(client, space, kind))
    if not items:
        raise ConfigurationError("--namespace", f"namespace {space!r} has no objects of {GROUP}")
    return items


def _listed(client: rest.Client, namespace: str, kind: str) -> Iterator[Any]:
    path = f"/apis/{GROUP}/{_VERSION}/namespaces/{namespace}/{PLURALS[kind]}"
    query = {"limit": str(_PAGE)}
    while True:
        try:
            page = client.get(path, **query)
        except rest.ApiError as error:
            if error.status == 404:  # this cluster does not know the kind
                return
            raise
        # The items of a list may lack their kind.
        yield from ({**item, "kind": kind, "apiVersion": f"{GROUP}/{_VERSION}"} for item in page.get("items") or ())
        query["continue"] = str((page.get("metadata") or {}).get("continue") or "")
        if not query["continue"]:
            return
