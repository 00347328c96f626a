"""What a controller needs from its Kubernetes cluster: permissions, custom resources, sidecars, the lease and the clock. Reads only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from csi_cinderlib.app.stores import KUBERNETES
from csi_cinderlib.commands.examination.findings import Finding, Level, note, ok, problem, unknown
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.persistence.kubernetes import access, resources
from csi_cinderlib.persistence.kubernetes.leases import NAME as LEASE
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

Json = dict[str, Any]
Version = tuple[int, ...]

OLDEST_KUBERNETES = (1, 30)
"""The same as in Chart.yaml."""
SIDECARS: Mapping[str, Version] = {
    "csi-provisioner": (6, 4, 0),
    "csi-attacher": (4, 13, 0),
    "csi-resizer": (2, 3, 0),
    "csi-snapshotter": (8, 7, 0),
    "csi-external-health-monitor-controller": (0, 16, 0),
    "csi-node-driver-registrar": (2, 15, 0),
    "livenessprobe": (2, 17, 0),
}
"""The tested versions, which the chart installs, by image name."""
_READ_SECONDS = 10.0
_AT_ONCE = 8
_SKEW_NOTED, _SKEW_BAD = 5.0, 60.0
"""Seconds. The header Date has whole seconds only."""
_IMAGE = re.compile(r"(?:^|/)(?P<name>[^/:@]+)(?::v?(?P<tag>[^@/]+))?(?:@.*)?$")
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_UPDATE_CRDS = "csi-cinderlib crds | kubectl apply -f -"
_SELECTOR = "app.kubernetes.io/component=controller"


def examine(settings: Settings) -> Iterator[Finding]:
    uses_store = settings.store.plugin == KUBERNETES
    if not uses_store and not settings.kubernetes:
        yield unknown("Kubernetes", "not checked: this configuration does not use a cluster")
        return
    try:
        reached = access(settings.store.options if uses_store else {})
    except ConfigurationError as error:
        yield unknown("Kubernetes", f"cannot be checked from here: {error}", "run it in the controller's pod")
        return
    client = Client(reached, connections=_AT_ONCE, read_seconds=_READ_SECONDS)
    with closing(client):
        try:
            yield from _server(client)
        except (ApiError, StoreUnavailable) as error:
            yield problem("Kubernetes", str(error), "check the address, the network and the token", required=True)
            return
        for look in (_rights, _definitions, _lease, _pods):
            try:
                yield from look(client, reached.namespace, uses_store)
            except (ApiError, StoreUnavailable) as error:
                yield unknown(_NAMES[look.__name__], str(error))


_NAMES = {"_rights": "permissions", "_definitions": "custom resources", "_lease": "lease", "_pods": "sidecars"}


def _server(client: Client) -> Iterator[Finding]:
    body, date = client.look("/version")
    release = str(body.get("gitVersion") or "")
    found = version(release)
    if found[:2] < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        yield problem(
            "Kubernetes",
            f"is {release or 'of an unknown version'}",
            f"upgrade it to {oldest} or later",
            required=bool(found),
        )
    else:
        yield ok("Kubernetes", release)
    yield judge_clock(date, datetime.now(UTC))


def judge_clock(date: str, now: datetime) -> Finding:
    """Compare this machine's clock with the API server's, whose time is an HTTP date."""
    try:
        skew = (now - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return unknown("clock", "the API server's response has no valid Date header")
    skew = 0.0 if 0 <= skew < 1 else skew
    detail = f"differs from the API server's clock by {abs(skew):.0f} s"
    if abs(skew) <= _SKEW_NOTED:
        return ok("clock", detail if abs(skew) >= 1 else "agrees with the API server's clock")
    return problem(
        "clock",
        detail,
        "synchronise both clocks; tokens and certificates depend on them",
        required=abs(skew) > _SKEW_BAD,
    )


def _rights(client: Client, namespace: str, uses_store: bool) -> Iterator[Finding]:
    """Check each verb on each resource in the controller's role of the chart."""
    asked = list(needed_rights(namespace, uses_store=uses_store))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            answers = list(pool.map(lambda attributes: _may(client, attributes), asked))
        except (ApiError, StoreUnavailable):
            pool.shutdown(wait=False, cancel_futures=True)  # the others would wait for the same server
            raise
    denied: dict[str, list[str]] = {}
    for attributes, may in zip(asked, answers, strict=True):
        if not may:
            denied.setdefault(_shown(attributes), []).append(attributes["verb"])
    for resource, verbs in denied.items():
        advice = "apply the chart's roles (charts/csi-cinderlib/templates/rbac-controller.yaml)"
        yield problem(
            "permissions", f"missing permission: {', '.join(verbs)} {resource} in {namespace}", advice, required=True
        )
    if not denied:
        yield ok("permissions", f"all {len(asked)} permissions of the controller's role in {namespace} are granted")
    for path, what in _IN_CLUSTER:
        if not _may(client, path):
            yield note(
                "permissions",
                f"missing permission: {path['verb']} {_shown(path)}; {what}",
                "apply the chart's ClusterRole",
            )


_IN_CLUSTER = (
    (
        {"verb": "get", "group": "", "resource": "namespaces", "name": "kube-system"},
        "the driver cannot check that the store belongs to this cluster",
    ),
    ({"verb": "list", "group": "", "resource": "nodes"}, "registrations of removed nodes are kept"),
)
"""Optional rights of the controller, and the effect of their absence."""


def needed_rights(namespace: str, *, uses_store: bool) -> Iterator[dict[str, str]]:
    """The `resourceAttributes` of a review, for each right."""
    rules = resources.controller_rules() if uses_store else [NODE_OBJECTS, *resources.status_rules()]
    for rule in rules:
        for group in rule["apiGroups"]:
            for name in rule["resources"]:
                resource, _, part = name.partition("/")
                for verb in rule["verbs"]:
                    yield {
                        "namespace": namespace,
                        "group": group,
                        "resource": resource,
                        "subresource": part,
                        "verb": verb,
                    }


NODE_OBJECTS: Json = {
    "apiGroups": [resources.GROUP],
    "resources": ["storagenodes"],
    "verbs": ["get", "list", "patch", "delete"],
}


def _may(client: Client, attributes: Mapping[str, str]) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": dict(attributes)},
    }
    return bool(client.post(_REVIEWS, review)["status"].get("allowed"))


def _shown(attributes: Mapping[str, str]) -> str:
    parts = [attributes["resource"], attributes.get("subresource", ""), attributes.get("name", "")]
    group = attributes["group"]
    return "/".join(filter(None, parts)) + (f" ({group})" if group else "")


def _definitions(client: Client, _namespace: str, uses_store: bool) -> Iterator[Finding]:
    what = "custom resources"
    try:
        served = [item["version"] for item in client.get(f"/apis/{resources.GROUP}").get("versions", ())]
    except ApiError as error:
        if error.status != 404:
            raise
        yield problem(what, f"{resources.GROUP} is not installed", _UPDATE_CRDS, required=True)
        return
    if resources.VERSION not in served:
        detail = f"{resources.GROUP} is served as {', '.join(served)}; this program needs {resources.VERSION}"
        yield problem(what, detail, _UPDATE_CRDS, required=True)
        return
    yield ok(what, f"{resources.GROUP} is served as {', '.join(served)}")
    always = {resources.BACKEND.kind, resources.CONFIGURATION.kind}
    ours = [item for item in resources.definitions() if uses_store or item["spec"]["names"]["kind"] in always]
    for definition in ours:
        if finding := _compare(client, definition):
            yield finding
            if finding.level is Level.UNKNOWN:  # the same for all
                return


def _compare(client: Client, ours: Json) -> Finding | None:
    """Compare an installed definition with ours. None if it has all our fields."""
    name = ours["metadata"]["name"]
    try:
        installed = client.get(f"{_DEFINITIONS}/{name}")
    except ApiError as error:
        if error.status == 404:
            return problem("custom resources", f"{name} is not installed", _UPDATE_CRDS, required=True)
        return unknown("custom resources", "fields not checked: this account may not read CustomResourceDefinitions")
    if lacking := lacking_fields(ours, installed):
        detail = f"{name} is older than this program; missing fields: {', '.join(lacking)}"
        return problem("custom resources", detail, _UPDATE_CRDS, required=True)
    return None


def lacking_fields(ours: Json, installed: Json) -> list[str]:
    """Paths of fields in our schema that the installed definition lacks. The API server drops such fields on writes."""
    schemas = {
        item["name"]: item.get("schema", {}).get("openAPIV3Schema", {}) for item in installed["spec"]["versions"]
    }
    version_ = ours["spec"]["versions"][0]
    return list(_lacking(version_["schema"]["openAPIV3Schema"], schemas.get(version_["name"], {}), ""))


def _lacking(ours: Json, other: Json, path: str) -> Iterator[str]:
    keeps_all = other.get("x-kubernetes-preserve-unknown-fields") is True
    for name, schema in ours.get("properties", {}).items():
        inner = other.get("properties", {}).get(name)
        if inner is not None:
            yield from _lacking(schema, inner, f"{path}{name}.")
        elif not keeps_all:
            yield f"{path}{name}"


def _lease(client: Client, namespace: str, uses_store: bool) -> Iterator[Finding]:
    if not uses_store:
        return
    try:
        found, date = client.look(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}")
    except ApiError as error:
        if error.status != 404:
            raise
        yield note("lease", f"{LEASE} does not exist: no controller has been active yet", "start the controller")
        return
    yield judge_lease(found.get("spec") or {}, date)


def judge_lease(spec: Json, date: str) -> Finding:
    """Whether a controller is active, by the API server's clock."""
    holder = str(spec.get("holderIdentity") or "")
    if not holder:
        return note("lease", "no holder: no controller is active", "start the controller")
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
        age = (parsedate_to_datetime(date) - renewed).total_seconds()
    except (ValueError, TypeError):
        return unknown("lease", f"{holder} holds it; its last renewal is unknown")
    if age > float(spec.get("leaseDurationSeconds") or 0) + _SKEW_NOTED:
        return note(
            "lease",
            f"{holder} last renewed it {age:.0f} s ago: no controller is active",
            "check the controller's log",
        )
    return ok("lease", f"{holder} is active; last renewal {max(0.0, age):.0f} s ago")


def _pods(client: Client, namespace: str, _uses_store: bool) -> Iterator[Finding]:
    """Check the controller's pods: their sidecars and the Secrets that they mount."""
    pods = [pod for pod in _controllers(client, namespace) if _is_ours(pod)]
    if not pods:
        yield unknown("sidecars", f"no controller pod found in {namespace} (label {_SELECTOR})")
        return
    yield from judge_pods(pods)
    for name, optional in sorted(mounted_secrets(pods).items()):
        yield from _secret(client, namespace, name, optional=optional)


def _controllers(client: Client, namespace: str) -> list[Json]:
    found: list[Json] = client.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=_SELECTOR)["items"]
    return found


def _is_ours(pod: Json) -> bool:
    """Whether the pod is this driver's controller: other programs use the same label."""
    own = pod["metadata"]["name"] == os.environ.get("HOSTNAME")
    return own or any(container["name"] == "cinderlib" for container in pod["spec"]["containers"])


def judge_pods(pods: Iterable[Json]) -> Iterator[Finding]:
    """One finding per sidecar version, and one per container that is not running."""
    images = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    for image in sorted(images):
        if finding := judge_image(image):
            yield finding
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", ()):
            if waiting := status.get("state", {}).get("waiting"):
                detail = f"container {status['name']} of {pod['metadata']['name']} is waiting: {waiting.get('reason', 'no reason given')}"
                yield note("sidecars", detail, f"kubectl logs {pod['metadata']['name']} -c {status['name']} --previous")


def judge_image(image: str) -> Finding | None:
    """Compare a sidecar's version with the tested one. None for an image that is not a sidecar."""
    found = _IMAGE.search(image)
    if not found or found["name"] not in SIDECARS:
        return None
    name, tested = found["name"], SIDECARS[found["name"]]
    expected = "v" + ".".join(map(str, tested))
    running = version(found["tag"] or "")
    if not running:
        return unknown(
            "sidecars", f"{name}: image {image} has no version in its tag", f"the tested version is {expected}"
        )
    if running[:1] != tested[:1] or running < tested:
        return note("sidecars", f"{name} is v{found['tag']}", f"use the tested version, {expected}")
    return ok("sidecars", f"{name} v{found['tag']}")


def mounted_secrets(pods: Iterable[Json]) -> dict[str, bool]:
    """Names of the Secrets that pods mount, and whether each is optional."""
    found: dict[str, bool] = {}
    for pod in pods:
        for volume in pod["spec"].get("volumes", ()):
            sources = [
                source["secret"] for source in volume.get("projected", {}).get("sources", ()) if "secret" in source
            ]
            for secret in [*([volume["secret"]] if "secret" in volume else []), *sources]:
                name = str(secret.get("secretName") or secret.get("name"))
                found[name] = bool(secret.get("optional")) and found.get(name, True)
    return found


def _secret(client: Client, namespace: str, name: str, *, optional: bool) -> Iterator[Finding]:
    """Check that a Secret exists, without reading its contents."""
    try:
        client.metadata(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    except ApiError as error:
        if error.status == 404:
            yield problem(
                "Secrets",
                f"{name} does not exist",
                f"kubectl -n {namespace} create secret generic {name} ...",
                required=not optional,
            )
        else:
            yield unknown("Secrets", f"{name} not checked: this account may not read Secrets, which is intended")
        return
    yield ok("Secrets", f"{name} exists")


def version(text: str) -> Version:
    """(1, 31, 2) for "v1.31.2+k3s1"; () for text that is not a version."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, found[1].split("."))) if found else ()
