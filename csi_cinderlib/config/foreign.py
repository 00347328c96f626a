"""Recognises the settings of Cinder, cinderlib and Ember-CSI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError

EMBER_VARIABLES = (
    "X_CSI_BACKEND_CONFIG",
    "X_CSI_EMBER_CONFIG",
    "X_CSI_PERSISTENCE_CONFIG",
    "X_CSI_STORAGE_NW_IP",
    "X_CSI_NODE_ID",
    "X_CSI_DEFAULT_MOUNT_FS",
    "X_CSI_NODE_TOPOLOGY",
    "X_CSI_TOPOLOGIES",
    "X_CSI_SYSTEM_FILES",
    "X_CSI_SPEC_VERSION",
    "X_CSI_ABORT_DUPLICATES",
    "X_CSI_DEBUG_MODE",
)
"""Environment variables of Ember-CSI."""
_SECTION = re.compile(r"\[[^\[\]{},\"']+\]\s*([#;].*)?")
_ASSIGNMENT = re.compile(r"[A-Za-z_][\w.\-]*\s*=")
_VARIABLE = re.compile(r"(export\s+)?X_CSI_[A-Z_]+=")
_OF_CINDERLIB = frozenset({"persistence_config", "disable_logs", "fail_on_missing_backend", "output_all_backend_info"})
_OF_A_CINDERLIB_BACKEND = frozenset({"volume_driver", "volume_backend_name"})


def refuse_text(path: Path, text: str) -> None:
    """Raises ConfigurationError for a file of another program that is neither YAML nor JSON."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith(("#", ";"))]
    if any(map(_VARIABLE.match, lines)):
        raise _refusal(path, "Ember-CSI's environment")
    if lines and _SECTION.fullmatch(lines[0]) and all(map(_is_of_ini, lines[1:2])):
        raise _refusal(path, "a cinder.conf", f", or set cinder_conf: {path.absolute()} in a YAML file")


def _is_of_ini(line: str) -> bool:
    return bool(_ASSIGNMENT.match(line) or _SECTION.fullmatch(line))


def refuse_tree(path: Path, tree: object) -> None:
    """Raises ConfigurationError for YAML or JSON of another program, and for objects of Kubernetes."""
    for item in tree if isinstance(tree, list) else [tree]:
        if isinstance(item, Mapping) and (product := _product(item)):
            raise _refusal(path, product)
    if isinstance(tree, Mapping) and {"apiVersion", "kind"} <= tree.keys():
        if _names_ember(tree):
            raise _refusal(path, "an object of Ember-CSI's deployment")
        raise ConfigurationError(
            str(path),
            f"is a Kubernetes object of kind {str(tree['kind'])!r}, not a configuration of csi-cinderlib; apply it with kubectl",
        )


def _product(tree: Mapping[str, object]) -> str:
    """The program of these settings; "" if unknown."""
    if any(key.startswith("X_CSI_") for key in tree) or tree.get("kind") == "EmberStorageBackend":
        return "Ember-CSI's configuration"
    if {"name", "driver"} <= tree.keys() and "options" not in tree:
        return "Ember-CSI's configuration"
    backends = tree.get("backends")
    listed = isinstance(backends, list) and any(isinstance(item, Mapping) for item in backends)
    if listed or not tree.keys().isdisjoint(_OF_CINDERLIB) or not tree.keys().isdisjoint(_OF_A_CINDERLIB_BACKEND):
        return "cinderlib's or Ember-CSI's configuration"
    return ""


def _names_ember(tree: object) -> bool:
    """Whether a Kubernetes object sets variables of Ember-CSI, in `env` or as keys of a ConfigMap or Secret."""
    if isinstance(tree, Mapping):
        return tree.get("name") in EMBER_VARIABLES or any(
            key in EMBER_VARIABLES or _names_ember(value) for key, value in tree.items()
        )
    return isinstance(tree, list) and any(map(_names_ember, tree))


def _refusal(path: Path, product: str, instead: str = "") -> ConfigurationError:
    return ConfigurationError(
        str(path), f"looks like {product}; convert it with `csi-cinderlib convert {path}`{instead}"
    )


def variables(environment: Mapping[str, str]) -> list[str]:
    """The variables of Ember-CSI that are set."""
    return [name for name in EMBER_VARIABLES if environment.get(name)]
