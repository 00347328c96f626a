"""The attributes declared for type checkers are those of Cinder's objects and drivers."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_overloads, get_type_hints

import pytest

from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinderlib import Connection, Library, Snapshot, Volume, attributes, keywords, results
from csi_cinderlib.errors import InvalidRequest
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING

UUID = "0b2d4f5e-1c3a-4e8f-9a6b-7c8d9e0f1a2b"
OBJECTS = {
    "Volume": (Volume, attributes.VolumeFields),
    "Snapshot": (Snapshot, attributes.SnapshotFields),
    "VolumeAttachment": (Connection, attributes.ConnectionFields),
    "VolumeType": (attributes.VolumeType, attributes.VolumeType),
    "QualityOfServiceSpecs": (attributes.QosSpecs, attributes.QosSpecs),
}
"""By Cinder's class: the class of the library, and the declarations."""
NOT_DECLARED = {
    "_name_id": "private; `name_id` has the value",
    "volume_types": "a list of volume types that share a specification; here each volume has its own",
    **dict.fromkeys(
        ("created_at", "updated_at", "deleted_at", "deleted"), "of volume types; here a type is a part of its volume"
    ),
}
ALWAYS_SET = {
    "Volume": "created_at deleted user_id project_id host status attach_status bootable multiattach "
    "metadata admin_metadata glance_metadata shared_targets",
    "Snapshot": "created_at deleted user_id project_id status volume_size",
    "VolumeAttachment": "created_at deleted attach_status",
    "VolumeType": "extra_specs",
    "QualityOfServiceSpecs": "specs",
}
"""Fields that may be None in Cinder, but not here."""
TYPES: dict[str, Any] = {
    "UUIDField": str,
    "StringField": str,
    "VolumeAttachStatusField": str,
    "SnapshotStatusField": str,
    "QoSConsumerField": str,
    "BooleanField": bool,
    "IntegerField": int,
    "DateTimeField": datetime,
    "DictOfStringsField": dict[str, str],
    "DictOfNullableStringsField": dict[str, str],
    "ListOfStringsField": list[str],
}
OF_OBJECTS: dict[str, Any] = {
    "volume_type": attributes.VolumeType,
    "qos_specs": attributes.QosSpecs,
    "volume_attachment": Any,
}
"""Other fields that hold an object of Cinder are declared as `object`: the library never sets them."""


def cinder_class(name: str) -> Any:
    load_cinder()
    from cinder import objects

    if name == "QualityOfServiceSpecs":
        from cinder.objects import qos_specs

        return qos_specs.QualityOfServiceSpecs
    return getattr(objects, name)


def expected(kind: str, name: str, field: Any) -> Any:
    """The type to declare for a field of Cinder's object."""
    base = TYPES.get(type(field).__name__) or OF_OBJECTS.get(name, object)
    if name in ("volume_type", "qos_specs"):
        return base | attributes.MaybeNone
    may_be_none = field.nullable and name not in ALWAYS_SET[kind].split() and base is not Any
    return base | None if may_be_none else base


def own_properties(kind: type) -> set[str]:
    return {name for parent in kind.__mro__ for name, value in vars(parent).items() if isinstance(value, property)}


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_field_of_cinders_object_is_declared_with_its_type(kind: str) -> None:
    ours, declarations = OBJECTS[kind]
    declared = get_type_hints(declarations)
    own = own_properties(ours)
    missing = NOT_DECLARED if kind in ("VolumeType", "QualityOfServiceSpecs") else {"_name_id"}
    wanted = {
        name: expected(kind, name, field)
        for name, field in cinder_class(kind).fields.items()
        if name not in own and name not in missing
    }
    extra = set(cinder_class(kind).obj_extra_fields) - own
    assert {name: kind for name, kind in declared.items() if name not in extra} == wanted
    assert extra <= set(declared)


@pytest.fixture
def used(library: Library) -> Iterator[tuple[Any, ...]]:
    backend = library.backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, extra_specs={"tier": "1"}, qos_specs={"maxIOPS": "5"})
    new = Volume(backend)
    yield volume, volume.create_snapshot(), volume.connect(CONNECTOR), new, library.load(new.jsons), backend


def test_a_field_that_is_declared_without_none_has_a_value(used: tuple[Any, ...]) -> None:
    for thing in used[:-1]:
        hints = get_type_hints(next(base for base in type(thing).__mro__ if base.__module__ == attributes.__name__))
        empty = [name for name, hint in hints.items() if getattr(thing, name) is None and not accepts_none(hint)]
        assert empty == [], thing
    volume_type = used[0].volume_type
    assert (volume_type.extra_specs, volume_type.qos_specs.specs) == ({"tier": "1"}, {"maxIOPS": "5"})


def accepts_none(hint: Any) -> bool:
    return hint is Any or bool({types.NoneType, Any} & set(get_args(hint)))


def test_a_driver_has_the_declared_attributes(used: tuple[Any, ...]) -> None:
    backend = used[-1]
    hints = get_type_hints(attributes.DriverFields)
    assert [name for name in hints if not hasattr(backend.driver, name)] == []
    assert (backend.initialized, backend.get_version(), backend.configuration.safe_get("none")) == (True, "1.0", None)


VALUES: dict[str, tuple[object, ...]] = {
    "UUIDField": (UUID,),
    "StringField": (UUID,),
    "VolumeAttachStatusField": ("attached", "detached"),
    "SnapshotStatusField": ("available", "error"),
    "BooleanField": (True, False),
    "IntegerField": (1, 2),
    "DateTimeField": (datetime.now(UTC), "2026-01-31T12:34:56Z"),
    "DictOfStringsField": ({"a": "b"}, {"a": 1}),
}
"""Values by class of Cinder's field. A caller may give all of them, or only the present one, which changes nothing."""
OWN = {"name", "description", "extra_specs", "qos_specs", "volume_type", "backend"}
"""Arguments that are not fields of Cinder's object."""


def accepted(kind: str, make: Callable[..., object]) -> set[str]:
    """The fields of Cinder's object that can be given to the constructor, except those that hold objects."""
    values = {
        name: VALUES[type(field).__name__]
        for name, field in cinder_class(kind).fields.items()
        if type(field).__name__ in TYPES
    }
    return {name for name, given in values.items() if all(is_accepted(make, {name: value}) for value in given)}


def is_accepted(make: Callable[..., object], values: dict[str, object]) -> bool:
    try:
        make(**values)
    except InvalidRequest:
        return False
    return True


def test_values_that_a_caller_may_give_are_declared(used: tuple[Any, ...]) -> None:
    volume, backend = used[0], used[-1]
    assert accepted("Volume", partial(Volume, backend)) == set(get_type_hints(keywords.VolumeArguments)) - OWN
    assert accepted("Snapshot", partial(Snapshot, volume)) == set(get_type_hints(keywords.SnapshotArguments)) - OWN
    assert not is_accepted(partial(Volume, backend), {"naem": "x"})


def keys(kind: type) -> set[str]:
    """The keys that a dictionary is declared with."""
    declared = [get_type_hints(overload)["key"] for overload in get_overloads(vars(kind)["__getitem__"])]
    return {key for literal in declared for key in get_args(literal)}


def test_connector_properties_of_this_host_have_the_declared_keys(tmp_path: Path) -> None:
    from csi_cinderlib.cinderlib import get_connector_properties

    assert set(get_connector_properties()) <= keys(results.ConnectorProperties)


def test_a_drivers_report_has_the_declared_keys(used: tuple[Any, ...]) -> None:
    stats = used[-1].stats(refresh=True)
    assert set(stats) <= keys(results.Stats)
    assert all(set(pool) <= keys(results.Pool) for pool in stats["pools"])
