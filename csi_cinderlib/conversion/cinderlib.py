"""Reads configurations of programs with cinderlib: arguments of `Backend` and `setup` in YAML or JSON, and oVirt's managed block storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from csi_cinderlib.conversion.cinder_conf import LVM
from csi_cinderlib.conversion.cinder_options import IMPLIED
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import GivenBackend, Note, Source, dropped
from csi_cinderlib.conversion.trees import Tree, parse
from csi_cinderlib.errors import ConfigurationError

PRODUCT = "cinderlib"
_DRIVER, _NAME = "volume_driver", "volume_backend_name"
_OVIRT = ("driver_options", "driver_sensitive_options")
_OVIRT_WRAPPER = "managed_block_storage"

_SETUP: Mapping[str, str] = MappingProxyType(
    {
        "persistence_config": "csi-cinderlib has its own metadata store; see the setting `store`",
        "file_locks_path": "locks are stored in the state directory",
        "root_helper": "driver commands run with the privileges of this process",
        "host": "csi-cinderlib sets the volumes' hosts",
        "project_id": "volumes of csi-cinderlib have no project",
        "user_id": "volumes of csi-cinderlib have no user",
        **dict.fromkeys(("disable_logs", "logs", "debug"), "set log.level for more detail"),
        **dict.fromkeys(
            (
                "non_uuid_ids",
                "output_all_backend_info",
                "fail_on_missing_backend",
                "suppress_requests_ssl_warnings",
                "size_precision",
                "venv_sudo",
                "sudo",
                "setup",
            ),
            "is an argument of cinderlib, not of its drivers",
        ),
    }
)
"""Reasons why arguments of `setup` and keys of cinderlib's test files are dropped."""
_IMPLIED: Mapping[str, str | None] = {**IMPLIED, "state_path": None}  # the current directory in cinderlib


def read(files: Iterable[File]) -> Source:
    """Read the back ends of all files. Raises ConfigurationError for files without back ends or with other problems."""
    backends: list[GivenBackend] = []
    defaults: dict[str, object] = {}
    notes: list[Note] = []
    for file in files:
        found = [item for tree in parse(file.text, file.place) for item in _backends(tree, file.place)]
        if not found:
            raise ConfigurationError(
                file.place, f"has no back end; a back end is a mapping with {_DRIVER} or driver_options"
            )
        backends += found
        for tree in parse(file.text, file.place):
            given, reasons = _of_setup(tree)
            defaults |= given
            notes += reasons
    return Source(product=PRODUCT, backends=tuple(backends), defaults=defaults, implied=_IMPLIED, notes=tuple(notes))


def holds(tree: Tree) -> bool:
    """Whether the tree looks like one of these configurations."""
    return bool(list(_backends(tree, "")))


def _backends(tree: Tree, place: str) -> Iterator[GivenBackend]:
    if isinstance(tree, list):
        for item in tree:
            yield from _backends(item, place)
    elif not isinstance(tree, dict):
        return
    elif _OVIRT_WRAPPER in tree and isinstance(tree[_OVIRT_WRAPPER], dict):
        yield from _backends({"name": tree.get("name"), **tree[_OVIRT_WRAPPER]}, place)  # type: ignore[dict-item]  # a dict
    elif any(key in tree for key in _OVIRT):
        yield _of_ovirt(tree, place)
    elif _DRIVER in tree or _NAME in tree:
        yield _backend(tree, place)
    else:
        named = tree.get("backends", tree)
        if isinstance(named, list):
            yield from _backends(named, place)
        elif isinstance(named, dict):
            for name, item in named.items():
                if isinstance(item, dict) and (_DRIVER in item or _NAME in item or any(key in item for key in _OVIRT)):
                    yield from _backends(
                        {_NAME: name, "name": name, **item} if _DRIVER not in item else {_NAME: name, **item}, place
                    )


def _of_ovirt(tree: dict[str, Tree], place: str) -> GivenBackend:
    options: dict[str, Tree] = {}
    for key in _OVIRT:
        given = tree.get(key) or {}
        options |= _pairs(given, f"{place}: {key}")
    return _backend({_NAME: tree.get("name") or options.get(_NAME), **options}, place)


def _pairs(given: Tree, place: str) -> dict[str, Tree]:
    """The pairs of a mapping, or of a list of `{name, value}` or of mappings with one key."""
    if isinstance(given, dict):
        return dict(given)
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ConfigurationError(place, "must be a mapping, or a list of mappings with name and value")
    pairs: dict[str, Tree] = {}
    for item in given:
        assert isinstance(item, dict)
        pairs |= {str(item["name"]): item.get("value")} if "name" in item else item
    return pairs


def _backend(tree: Mapping[str, Tree], place: str) -> GivenBackend:
    own = dict(tree)
    name, driver = own.pop(_NAME, None), own.pop(_DRIVER, None) or LVM
    if not isinstance(name, str) or not isinstance(driver, str):
        raise ConfigurationError(place, f"each back end must have a {_NAME} and a {_DRIVER} as text")
    return GivenBackend(name=name, driver=driver, own=own)


def _of_setup(tree: Tree) -> tuple[dict[str, object], list[Note]]:
    """Options of Cinder's [DEFAULT], and notes on the arguments of cinderlib."""
    if not isinstance(tree, dict) or _DRIVER in tree or _NAME in tree or "backends" not in tree:
        return {}, []
    options: dict[str, object] = {}
    notes = []
    for key, value in tree.items():
        if key in _SETUP:
            notes.append(dropped(key, _SETUP[key]))
        elif key != "backends":
            options[key] = value
    return options, notes
