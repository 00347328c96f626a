"""Reads Ember-CSI's environment from a file, this process, Kubernetes manifests, or its operator's custom resource."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from csi_cinderlib.conversion import environments
from csi_cinderlib.conversion.cinder_options import IMPLIED
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import GivenBackend, Note, Source, dropped, failed, translated
from csi_cinderlib.conversion.trees import Tree, parse, parse_json
from csi_cinderlib.errors import ConfigurationError

PRODUCT = "Ember-CSI"
KIND = "EmberStorageBackend"
BACKEND, EMBER, PERSISTENCE = "X_CSI_BACKEND_CONFIG", "X_CSI_EMBER_CONFIG", "X_CSI_PERSISTENCE_CONFIG"
PREFIX = "X_CSI_"
_NAMES: Mapping[str, str] = MappingProxyType(
    {"driver": "volume_driver", "multipath": "use_multipath_for_image_xfer", "name": "volume_backend_name"}
)
"""Ember-CSI's own names of options."""
_IMPLIED: Mapping[str, str | None] = {**IMPLIED, "state_path": "/var/lib/ember-csi"}
_LOGS = "set log.format and log.level"

_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "X_CSI_SPEC_VERSION": "csi-cinderlib serves CSI 1.x without a setting",
        "X_CSI_ABORT_DUPLICATES": "csi-cinderlib always refuses a second call for a volume while the first one is in progress",
        "X_CSI_DEBUG_MODE": "csi-cinderlib has no remote debugger",
        "X_CSI_DEFAULT_MOUNT_FS": "set csi.storage.k8s.io/fstype in the StorageClass",
        "X_CSI_NODE_ID": "nodes get their names from Kubernetes; outside Kubernetes, set node_name",
        "X_CSI_STORAGE_NW_IP": "nodes report their own addresses",
        PERSISTENCE: "csi-cinderlib has its own metadata store; see the setting `store`",
        "CSI_ENDPOINT": "the chart sets the socket; without it, set endpoint",
        "CSI_MODE": "the chart sets the mode; without it, set mode",
        "KUBE_NODE_NAME": "nodes get their names from Kubernetes",
        "PYTHONUNBUFFERED": "has no effect in csi-cinderlib",
    }
)
_FAILED: Mapping[str, str] = MappingProxyType(
    {
        "X_CSI_SYSTEM_FILES": "is an archive of files; mount them at the same paths with controller.volumes and controller.volumeMounts",
        "X_CSI_TOPOLOGIES": "set topology of the back end together with node.topologyLabels or topology of the nodes",
        "X_CSI_NODE_TOPOLOGY": "set node.topologyLabels or topology of the nodes together with topology of the back end",
    }
)
_EMBER: Mapping[str, str] = MappingProxyType(
    {
        "plugin_name": "csi-cinderlib has its own name; `csi-cinderlib adopt ember` takes over volumes",
        "grpc_workers": "csi-cinderlib has its own setting `workers` with a suitable default",
        "project_id": "volumes of csi-cinderlib have no project",
        "user_id": "volumes of csi-cinderlib have no user",
        "root_helper": "driver commands run with the privileges of this process",
        "file_locks_path": "locks are stored in the state directory",
        "state_path": "drivers store their files in the state directory; set state_dir to change it",
        "enable_probe": "csi-cinderlib always serves Probe",
        "slow_operations": "csi-cinderlib needs no setting for slow calls",
        "disable_logs": _LOGS,
        "default_log_levels": _LOGS,
        "logging_context_format_string": _LOGS,
        "disabled": "each back end offers the features of its driver",
    }
)


def is_ours(name: str) -> bool:
    """Whether a variable belongs to Ember-CSI."""
    return name.startswith(PREFIX) or name in _VARIABLES


def read(files: Iterable[File]) -> Source:
    """Read the back ends of all files. Raises ConfigurationError."""
    files = list(files)
    found = [item for file in files for item in _environments(file)]
    return _source(found, files[0].place)


def from_environment(environment: Mapping[str, str]) -> Source:
    """Read the back end from the environment of this process. Raises ConfigurationError."""
    return _source([("", {name: text for name, text in environment.items() if is_ours(name)})], "the environment")


def holds(tree: Tree) -> bool:
    """Whether a document is one of these configurations."""
    if not isinstance(tree, dict):
        return False
    return (
        tree.get("kind") == KIND
        or any(key.startswith(PREFIX) for key in tree)
        or ("driver" in tree and not isinstance(tree["driver"], dict) and "options" not in tree)
    )


def _environments(file: File) -> Iterator[tuple[str, dict[str, str]]]:
    if file.text.lstrip()[:1] not in ("{", "[") and environments.ASSIGNMENT.match(_first_line(file.text)):
        yield "", environments.parse(file.text, file.place)
        return
    documents = parse(file.text, file.place)
    for name, custom in environments.of_kind(documents, KIND):
        yield name, _of_custom_resource(custom, f"{file.place}: {KIND} {name}")
    yield from (pair for pair in environments.of_manifests(documents, file.place) if any(map(is_ours, pair[1])))
    for document in documents:
        if isinstance(document, dict) and "kind" not in document and holds(document):
            given = document if any(key.startswith(PREFIX) for key in document) else {BACKEND: document}
            yield "", {key: _as_text(value) for key, value in given.items()}


def _first_line(text: str) -> str:
    return next((line for line in text.split("\n") if line.strip() and line.lstrip()[0] not in "#;"), "")


def _as_text(value: Tree) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _of_custom_resource(custom: Mapping[str, Tree], place: str) -> dict[str, str]:
    spec = custom.get("spec")
    config = spec.get("config") if isinstance(spec, dict) else None
    variables = config.get("envVars") if isinstance(config, dict) else None
    if not isinstance(variables, dict):
        raise ConfigurationError(place, "has no spec.config.envVars")
    found = {key: _as_text(value) for key, value in variables.items()}
    assert isinstance(config, dict)
    files = config.get("sysFiles")
    if isinstance(files, dict) and files.get("name"):
        found["X_CSI_SYSTEM_FILES"] = str(files["name"])
    if isinstance(spec, dict) and spec.get("topologies"):
        found["X_CSI_TOPOLOGIES"] = _as_text(spec["topologies"])
    return found


def _source(given: list[tuple[str, dict[str, str]]], place: str) -> Source:
    backends: list[GivenBackend] = []
    notes: list[Note] = []
    defaults: dict[str, object] = {}
    settings: dict[str, object] = {}
    implied = dict(_IMPLIED)
    for name, variables in given:
        missing = {key: text for key, text in variables.items() if text.startswith(environments.MISSING)}
        if BACKEND in missing:
            held = missing[BACKEND].removeprefix(environments.MISSING)
            raise ConfigurationError(place, f"{BACKEND} refers to the {held}, which is not in these files; add it")
        options = _mapping(variables.get(EMBER, ""), f"{place}: {EMBER}")
        implied |= {"state_path": str(options["state_path"])} if options.get("state_path") else {}
        defaults |= {key: value for key, value in options.items() if key not in (*_EMBER, "debug", "request_multipath")}
        settings |= _settings(options)
        notes += [note for note in _notes(variables, options) if note not in notes]
        text = variables.get(BACKEND, "")
        if text:
            backend = _backend(_mapping(text, f"{place}: {BACKEND}"), name)
            backends += [backend] if backend not in backends else []  # controller and nodes may have the same variables
    if not backends:
        raise ConfigurationError(place, f"has no {BACKEND}; add the variable with the back end")
    return Source(
        product=PRODUCT,
        backends=tuple(backends),
        defaults=defaults,
        place=f"{EMBER}.",
        implied=implied,
        settings=settings,
        notes=tuple(notes),
    )


def _mapping(text: str, place: str) -> dict[str, Tree]:
    if not text.strip():
        return {}
    if "{{" in text and "}}" in text:
        raise ConfigurationError(place, "has placeholders of a template; render it first")
    tree = parse_json(text, place)
    if not isinstance(tree, dict):
        raise ConfigurationError(place, "must be a JSON object")
    return tree


def _settings(options: Mapping[str, Tree]) -> dict[str, object]:
    settings: dict[str, object] = {}
    if options.get("request_multipath") == "true":
        settings["multipath"] = True
    if options.get("debug") == "true":
        settings["log"] = {"level": "debug"}
    return settings


def _notes(variables: Mapping[str, str], options: Mapping[str, Tree]) -> Iterator[Note]:
    for name in variables:
        if name in _FAILED:
            yield failed(name, _FAILED[name])
        elif name in _VARIABLES:
            yield dropped(name, _VARIABLES[name])
        elif name.startswith(PREFIX) and name not in (BACKEND, EMBER):
            yield failed(name, "is not a variable of Ember-CSI")
    for name in _mapping(variables.get(EMBER, ""), EMBER):
        if name == "request_multipath":
            yield translated(f"{EMBER}.{name}", f"is the setting multipath, {options[name]}")
        elif name == "debug":
            yield translated(
                f"{EMBER}.{name}", f"is the setting log.level, {'debug' if options[name] == 'true' else 'info'}"
            )
        elif name in _EMBER:
            yield dropped(f"{EMBER}.{name}", _EMBER[name])


def _backend(given: dict[str, Tree], fallback: str) -> GivenBackend:
    options = _selected(_transformed(given))
    for ours, theirs in _NAMES.items():
        if ours in options:
            options.setdefault(theirs, options.pop(ours))
    name, driver = options.pop("volume_backend_name", None), options.pop("volume_driver", None)
    if not driver:
        raise ConfigurationError(BACKEND, "has no driver; add the key driver or volume_driver")
    return GivenBackend(name=str(name or fallback or "ember"), driver=str(driver), own=options)


def _transformed(given: Mapping[str, Tree]) -> dict[str, Tree]:
    """Convert form values by the suffixes of the operator."""
    options: dict[str, Tree] = {}
    for key, value in given.items():
        name, mark, how = key.partition("__transform_")
        if not mark:
            options[key] = value
        elif how == "empty_none":
            options[name] = value or None
        elif how == "csv":
            options[name] = [*value.split(",")] if isinstance(value, str) and value else []
        elif how == "csv_kvs":
            pairs = [item.split(":", 1) for item in str(value or "").split(",")]
            options[name] = {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
        else:
            options[name] = value
    return options


def _selected(options: Mapping[str, Tree]) -> dict[str, Tree]:
    """Select the options of this driver from the form: `driver__DRIVER__OPTION` is an option of that driver."""
    chosen = f"driver__{options.get('driver')}__"
    return {
        key.removeprefix(chosen): value
        for key, value in options.items()
        if key.startswith(chosen) or not key.startswith("driver__")
    }
