"""Cinder's versioned objects of records, for use outside of driver calls."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from csi_cinderlib.cinder import convert, filling, rows
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinder.work import Work, working
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import Attachment, Snapshot, Volume, VolumeType
from csi_cinderlib.persistence.api import Store

_TYPE_DEFAULTS: Mapping[str, object] = MappingProxyType({"description": None, "is_public": True, "projects": []})
"""Fields of a volume type that a record does not store."""

_HELD = frozenset("metadata admin_metadata glance_metadata volume_type extra_specs qos_specs specs".split())
"""Dictionaries of a volume, a snapshot, a volume type and QoS specs, and the objects that contain them."""
_SAME_IN_JSON = frozenset({str, int, bool})


def volume(store: Store, record: Volume, attachments: Sequence[Attachment] | None = None) -> Any:
    """Cinder's Volume; its snapshots are loaded on access.

    Args:
        attachments: of the volume, if the caller has newer ones than the store.
    """
    load_cinder()
    work = _work(store, record, attachments)
    with working(work):
        volume = convert.volume_object(_context(), work, record)
        if volume.volume_type is not None and volume.volume_type.qos_specs_id:
            volume.volume_type.qos_specs  # noqa: B018  # loads them
        return _without_lazy(
            volume, {"cluster": "cluster_name", "group": "group_id", "consistencygroup": "consistencygroup_id"}
        )


def snapshot(store: Store, record: Snapshot, of: Volume, attachments: Sequence[Attachment] | None = None) -> Any:
    """Cinder's Snapshot with its volume. As in cinderlib, its progress is the name of the back end.

    Args:
        attachments: as for `volume`.
    """
    load_cinder()
    work = _work(store, of, attachments)
    with working(work):
        snapshot = convert.snapshot_object(_context(), work, record)
    if "progress" not in record.fields:
        snapshot.progress = record.backend
        snapshot.obj_reset_changes(["progress"])
    return _without_lazy(snapshot, {"cgsnapshot": "cgsnapshot_id", "group_snapshot": "group_snapshot_id"})


def _without_lazy(versioned: Any, ids: Mapping[str, str]) -> Any:
    """The object, with None for related objects that it does not have, so that JSON contains them."""
    attributes = vars(versioned)  # a property would convert the value and mark the field as changed
    attributes.update({f"_obj_{name}": None for name, id in ids.items() if not attributes.get(f"_obj_{id}")})
    return versioned


def attachment(record: Attachment, connection_info: Mapping[str, Any]) -> Any:
    """Cinder's VolumeAttachment with this `connection_info` instead of the driver's result."""
    load_cinder()
    from cinder import objects

    context = _context()
    row = rows.attachment_row(record)
    attachment = objects.VolumeAttachment._from_db_object(context, objects.VolumeAttachment(context), row)
    attachment.connection_info = dict(connection_info)
    attachment.obj_reset_changes(["connection_info"])
    return attachment


def version(name: str) -> str:
    """The version of a class of Cinder's objects."""
    load_cinder()
    from cinder import objects

    return str(getattr(objects, name).VERSION)


def is_field(kind: type[Volume] | type[Snapshot], name: str) -> bool:
    """Whether Cinder's object has this field."""
    return name in _fields(kind)


def is_object(kind: type[Volume] | type[Snapshot], name: str) -> bool:
    """Whether this field of Cinder's object is another object."""
    return _is_object(_fields(kind), name)


def coerce(kind: type[Volume] | type[Snapshot], name: str, value: Any) -> Any:
    """The value as Cinder's object converts it. Raises InvalidRequest: the field does not accept it."""
    with _blaming(name):
        return _fields(kind)[name].coerce(None, name, value)


def coerce_specs(name: str, specs: Any) -> dict[str, str]:
    """Extra specs or QoS specs as Cinder's volume type converts them: numbers and booleans become text.

    Raises:
        InvalidRequest: a value is None or a collection.
    """
    if specs == {}:
        return {}
    load_cinder()
    from cinder import objects

    with _blaming(name):
        converted = objects.VolumeType.fields["extra_specs"].coerce(None, name, specs)
    for key, value in (converted or {}).items():
        if value is None:
            raise InvalidRequest(f"{name}[{key}]", "must be text (got None)")
    return dict(converted or {})


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise InvalidRequest(name, str(error)) from None


def _fields(kind: type[Volume] | type[Snapshot]) -> Mapping[str, Any]:
    return _fields_of(kind.__name__)


@functools.cache
def _fields_of(name: str) -> Mapping[str, Any]:
    """The fields of Cinder's class, which do not change. Loading an object from JSON asks for them a hundred times."""
    load_cinder()
    from cinder import objects

    fields: Mapping[str, Any] = getattr(objects, name).fields
    return fields


def changes(versioned: Any) -> dict[str, Any]:
    """The changed fields of an object, by column."""
    return {
        name: _copied(getattr(versioned, name))
        for name in filling.changed(versioned)
        if not _is_object(versioned.fields, name)
    }


def _copied(value: Any) -> Any:
    """A copy of a dictionary, which the caller may change in the meantime."""
    return dict(value) if isinstance(value, dict) else value


def assigned(versioned: Any) -> dict[str, Any]:
    """As `changes`, with the objects that were assigned to a field, except the volume type (see `type_of`).

    Objects that were changed in place are not included: they are stored by their own `save`.
    """
    objects = {
        name: getattr(versioned, name)
        for name in versioned._changed_fields
        if _is_object(versioned.fields, name) and name != "volume_type"
    }
    return {**changes(versioned), **objects}


def update(versioned: Any, now: Any, unsaved: Collection[str] = ()) -> None:
    """Make an object equal to a newer one in place, except for fields with values that are not stored yet.

    Dictionaries and the volume type are updated in place as well, so that a caller that holds one changes the current values.
    """
    old, new = vars(versioned), dict(vars(now))
    kept = {name for name in unsaved if f"_obj_{name}" in old}
    for name in kept:
        new[f"_obj_{name}"] = old[f"_obj_{name}"]
    for name in _HELD.intersection(versioned.fields).difference(kept):
        if (attribute := f"_obj_{name}") in new:
            new[attribute] = _updated(old.get(attribute), new[attribute])
    new["_changed_fields"] = {*new["_changed_fields"], *kept}
    old.update(new)
    for attribute in old.keys() - new.keys():
        del old[attribute]


def _updated(old: Any, new: Any) -> Any:
    """The value of a field: the old dictionary or object with the new content, or the new value if there is no old one."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - new.keys():
            del old[key]
        old.update(new)
        return old
    if type(old) is type(new) and hasattr(old, "obj_what_changed"):
        update(old, new)
        return old
    return new


def type_of(versioned: Any, consumer: str) -> VolumeType | None:
    """The volume type of Cinder's Volume, as changed by the user.

    Args:
        consumer: of the QoS specs, for a type without any.

    Raises:
        InvalidRequest: a value is not supported, or a field of the type that a record does not store was set.
    """
    kind = versioned.volume_type
    return None if kind is None else type_from(kind, own_name=versioned.id, consumer=consumer)


def type_from(kind: Any, *, own_name: str = "", consumer: str = "back-end") -> VolumeType:
    """The volume type of Cinder's VolumeType; as `type_of`.

    Args:
        own_name: the name of a type without a name of the user: the id of its volume.
    """
    for name, default in _TYPE_DEFAULTS.items():
        if kind.obj_attr_is_set(name) and getattr(kind, name) not in (None, default):
            raise InvalidRequest(
                f"volume_type.{name}", "cannot be set; only extra_specs and qos_specs of a type are stored"
            )
    qos = kind.qos_specs if kind.obj_attr_is_set("qos_specs") else None
    return VolumeType(
        name="" if kind.name == own_name else str(kind.name or ""),
        extra_specs=coerce_specs("extra_specs", kind.extra_specs if kind.obj_attr_is_set("extra_specs") else {}),
        qos_specs=coerce_specs("qos_specs", qos.specs) if qos is not None else {},
        qos_consumer=str(qos.consumer) if qos is not None and qos.specs else consumer,
    )


def primitive(versioned: Any, without: Iterable[str] = (), _above: frozenset[int] = frozenset()) -> dict[str, Any]:
    """As `obj_to_primitive`, but without nested repetition: a volume's snapshots do not contain the volume again.

    Times keep their microseconds. Fields that are not loaded and the fields in `without` are omitted.
    """
    above = _above | {id(versioned)}
    data: dict[str, Any] = {}
    loaded = vars(versioned)
    for name, field in versioned.fields.items():
        if name in without or (attribute := f"_obj_{name}") not in loaded:
            continue
        value = loaded[attribute]
        if value is None or type(value) in _SAME_IN_JSON:
            data[name] = value
        elif isinstance(value, list) and all(hasattr(item, "obj_to_primitive") for item in value):
            data[name] = [primitive(item, (), above) for item in value if id(item) not in above]
        elif hasattr(value, "obj_to_primitive"):
            if id(value) not in above:
                data[name] = primitive(value, (), above)
        else:
            data[name] = _plain(field, versioned, name, value)
    return {
        "versioned_object.name": versioned.obj_name(),
        "versioned_object.namespace": versioned.OBJ_PROJECT_NAMESPACE,
        "versioned_object.version": versioned.VERSION,
        "versioned_object.data": data,
    }


def _plain(field: Any, versioned: Any, name: str, value: Any) -> Any:
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return field.to_primitive(versioned, name, value)


def _is_object(fields: Mapping[str, Any], name: str) -> bool:
    return "Object" in type(fields[name]).__name__


@functools.cache
def _context() -> Any:
    """The context of all these objects, as in cinderlib: it is larger than an object, and takes long to make."""
    return convert.admin_context()


def _work(store: Store, of: Volume, attachments: Sequence[Attachment] | None) -> Work:
    attached = {} if attachments is None else {of.id: tuple(attachments)}
    return Work(of.backend, store, volumes={of.id: of}, attached=attached)
