"""The public signatures have no `Any`, except where Cinder, os-brick or JSON determine the type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinderlib import (
    attributes,
    default,
    exception,
    keywords,
    object_setup,
    objects,
    persistence,
    primitives,
    results,
    serialization,
    utils,
)
from csi_cinderlib.cinderlib.cmd import cinder_cfg_to_python, cinder_to_yaml
from csi_cinderlib.cinderlib.persistence import base, dbms, memory, opening

_UNTYPED = re.compile(r"\b(?:Any|MaybeNone|MaybeName|Json\w*)\b")
JSON = "JSON is text, numbers and mappings of them, at any depth; `Any` as in `json.loads`"
LOADED = "the class is in the JSON; `load` of the classes is typed"
NOT_NONE = "None only in a case that callers exclude, as in typeshed"
NAME = "a name only with `fail_on_missing_backend=False`"
OF_CINDER = "an object of Cinder"
OF_DRIVER = "a driver determines it"
OF_OSLO = "a class or a field of oslo.versionedobjects"
OF_PLUGIN = "arguments of a plugin's own class"
DATABASE = "the replacement of Cinder's database, for drivers"
KEY = "a key or a value of a user is any JSON value"
ALLOWED = {
    **{f"{kind}.{name}": JSON for kind in ("Object", "Backend") for name in ("json", "dump")},
    **dict.fromkeys(("Object.to_json", "Object.to_dict"), JSON),
    **{f"{kind}.load": JSON for kind in ("Volume", "Snapshot", "Connection")},
    "Backend.load": f"{JSON}; {NAME}",
    "Backend.load_backend": f"{JSON}; {NAME}",
    "Backend.config": "a back end's options, with the types that its driver declares",
    **{f"Library.{name}": JSON for name in ("json", "dump", "backend_of", "load_backend", "load_object")},
    "Library.load": LOADED,
    **dict.fromkeys(("Library.backend_as", "Library.set_up_again"), "options of drivers, from `Backend` and `setup`"),
    "serialization.json": JSON,
    "serialization.dump": JSON,
    "serialization.load": LOADED,
    "serialization.load_object": JSON,
    "serialization.load_all": LOADED,
    "serialization.load_backend": f"{JSON}; {NAME}",
    "serialization.parsed": JSON,
    "primitives.obj_to_primitive": f"{OF_CINDER}; {JSON}",
    "primitives.obj_from_primitive": f"{OF_CINDER}; {JSON}",
    "primitives.field_ovo_to_primitive": JSON,
    "primitives.bare": JSON,
    **{f"primitives.{name}_to_primitive": f"{OF_OSLO}; {JSON}" for name in ("field", "iterable", "dict")},
    "primitives.wrap_to_primitive": OF_OSLO,
    "Object.backend": NAME,
    "ConnectionValues.device": NOT_NONE,
    "Connection.path": NOT_NONE,
    "NamedObject.name": NOT_NONE,
    "VolumeType.qos_specs": NOT_NONE,
    "VolumeFields.volume_type": NOT_NONE,
    "Object.OVO_CLASS": OF_CINDER,
    "Volume.OVO_CLASS": OF_CINDER,
    "Snapshot.OVO_CLASS": OF_CINDER,
    "Connection.OVO_CLASS": OF_CINDER,
    "Connection.connector": "an object of os-brick",
    "Connection.detach": "takes an object of os-brick",
    "VolumeFields.volume_attachment": OF_CINDER,
    **{f"{kind}.db": DATABASE for kind in ("Persistence", "PersistenceDriverBase", "MemoryPersistence")},
    **{f"{kind}.get_key_values": KEY for kind in ("Persistence", "PersistenceDriverBase", "MemoryPersistence")},
    "KeyValue.__init__": KEY,
    "MemoryPersistence.key_values": KEY,
    "PersistenceDriverBase.__init__": OF_PLUGIN,
    **{f"PersistenceDriverBase.{name}": f"values of {OF_CINDER}" for name in ("get_fields", "get_changed_fields")},
    **{
        f"DB.{name}": OF_CINDER
        for name in (
            "volume_get",
            "snapshot_get",
            "volume_type_get",
            "qos_specs_get",
            "volume_get_all_by_host",
            "get_by_id",
        )
    },
    "base.vol_type_to_dict": f"{OF_CINDER}; {JSON}",
    "Backend.driver": OF_CINDER,
    "DriverFields.capabilities": OF_DRIVER,
    "DriverFields.get_volume_stats": OF_DRIVER,
    "DriverFields.pools": OF_DRIVER,
    "Configuration.safe_get": OF_DRIVER,
    "DriverDescription.driver_options": OF_DRIVER,
    "cinder_to_yaml.convert": OF_DRIVER,
}


def written(annotations: dict[str, Any]) -> str:
    """Annotations as in the source."""
    return " ".join(value if isinstance(value, str) else str(value) for value in annotations.values())


def of_member(member: Any) -> str:
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return written(inspect.get_annotations(function)) if inspect.isfunction(function) else ""


def of_class(kind: type) -> Iterator[tuple[str, str]]:
    for name, annotation in inspect.get_annotations(kind).items():
        if not name.startswith("_"):
            yield f"{kind.__name__}.{name}", getattr(annotation, "__forward_arg__", str(annotation))
    for name, member in vars(kind).items():
        if not name.startswith("_") or name in ("__init__", "__new__"):
            yield f"{kind.__name__}.{name}", of_member(member)


def public_classes() -> set[type]:
    modules = (cinderlib, objects, persistence, base, dbms, memory, exception, attributes, keywords, results, utils)
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {base for kind in found for base in kind.__mro__ if base.__module__.startswith("csi_cinderlib.cinderlib")}


FUNCTIONS = (
    default,
    serialization,
    primitives,
    object_setup,
    opening,
    base,
    utils,
    cinder_cfg_to_python,
    cinder_to_yaml,
    cinderlib.properties,
    cinderlib.drivers,
)


def signatures() -> Iterator[tuple[str, str]]:
    for kind in public_classes():
        yield from of_class(kind)
    for module in FUNCTIONS:
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", of_member(function)


def test_any_is_only_where_its_reason_is_listed() -> None:
    untyped = {name for name, text in signatures() if _UNTYPED.search(text)}
    assert untyped == set(ALLOWED)


def test_every_public_function_is_seen() -> None:
    names = {name for name, _ in signatures()}
    assert {"Backend.create_volume", "Volume.connect", "default.setup", "Persistence.get_volumes"} <= names
    assert {"Connection.attach", "VolumeFields.status", "DriverDescription.version", "Library.__init__"} <= names
    assert {"PersistenceDriverBase.set_volume", "NamedObject.name", "Object.setup", "opening.setup"} <= names
