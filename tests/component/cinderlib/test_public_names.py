"""Every public name of cinderlib 5.2.0 is here, and takes what it took."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinderlib import objects
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING

PUBLIC: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "public-names-5.2.0.json").read_text())
"""By module or class, every name of cinderlib's source without an underscore in front, and what it takes: read off its syntax tree,
attributes that are set in methods included. `name=` has a default; an attribute takes nothing."""

_MAKING = "objects are made of records here, and its users never call it"
NOT_HERE = {
    "objects.Object.DEFAULT_FIELDS_VALUES": _MAKING,
    "objects.Volume.DEFAULT_FIELDS_VALUES": _MAKING,
    "objects.Snapshot.DEFAULT_FIELDS_VALUES": _MAKING,
    "objects.Object.load": "only of volumes, snapshots and connections, whose classes have it",
}
"""Each with the reason. Besides these only submodules are left out: drivers of its stores, utils."""
OTHERWISE = {
    "objects.Object": _MAKING,
    "objects.NamedObject": _MAKING,
    "objects.LazyVolumeAttr": _MAKING,
    "objects.Connection": "is made by `connect`, there as here",
    "Connection": "is made by `connect`, there as here",
}
"""Exist, and take something else."""
ON_OBJECTS = ("key", "value", "local_attach", "backend", "driver")
"""Set by methods, so that the class has none."""


def taken(where: str) -> Any:
    if where == "Backend.persistence":
        cinderlib.setup()
        return cinderlib.Backend.persistence
    found: Any = cinderlib
    for name in where.split(".") if where else ():
        found = getattr(found, name)
    return found


def accepts(signature: inspect.Signature, wanted: str) -> str:
    """The first parameter that is not taken as it was, or ""."""
    have = {name: one for name, one in signature.parameters.items() if name not in ("self", "cls")}
    for word in wanted.split():
        if word == "()":
            return "" if all(one.default is not one.empty for one in have.values()) else str(signature)
        if word.startswith("**"):
            if not any(one.kind is one.VAR_KEYWORD for one in have.values()):
                return word
            continue
        name = word.rstrip("=")
        if name not in have or (word.endswith("=") and have[name].default is inspect.Parameter.empty):
            return word
    order = [word.rstrip("=") for word in wanted.split() if not word.startswith(("**", "("))]
    same_order = [name for name in have if name in order]
    return "" if same_order == order else f"the order {same_order}"


@pytest.mark.parametrize("where", PUBLIC)
def test_a_public_name_exists_and_takes_what_it_took(where: str, process_wide: Any) -> None:
    home, wrong = taken(where), {}
    for name, wanted in PUBLIC[where].items():
        full = f"{where}.{name}" if where else name
        if full in NOT_HERE:
            if hasattr(home, name):
                wrong[name] = "is here after all"
        elif not hasattr(home, name):
            if name not in ON_OBJECTS:
                wrong[name] = "is missing"
        elif wanted and full not in OTHERWISE and (lacks := accepts(inspect.signature(getattr(home, name)), wanted)):
            wrong[name] = f"does not take {lacks}"
    assert wrong == {}


def test_what_methods_set_is_on_the_objects(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1)
    key_value = process_wide.KeyValue("a", "1")
    assert (key_value.key, key_value.value, volume.local_attach, volume.backend) == ("a", "1", None, backend)
    assert type(backend.driver).__name__ == "NothingDriver"
    assert volume.connect(CONNECTOR).scan_attempts == 3


def test_the_reasons_are_of_names_that_cinderlib_had() -> None:
    had = {f"{where}.{name}" if where else name for where, names in PUBLIC.items() for name in names}
    assert (set(NOT_HERE) | set(OTHERWISE)) - had == set()
    assert set(ON_OBJECTS) <= {name for names in PUBLIC.values() for name in names}


def test_the_classes_tell_of_the_set_up(process_wide: Any) -> None:
    Backend = process_wide.Backend
    assert (Backend.global_initialization, Backend.non_uuid_ids, Backend.im_root) == (False, None, None)
    process_wide.setup(non_uuid_ids=True, project_id="p")
    assert (Backend.global_initialization, Backend.non_uuid_ids) == (True, True)
    assert Backend.im_root is (os.geteuid() == 0)
    assert (Backend.project_id, process_wide.Volume.persistence) == ("p", Backend.persistence)
    assert process_wide.Volume.backend_class is Backend


def test_cinders_classes_are_there_by_the_names_of_before() -> None:
    from csi_cinderlib.cinder.runtime import load_cinder

    load_cinder()
    from cinder import context
    from cinder import objects as cinders

    assert cinderlib.Volume.OVO_CLASS is cinders.Volume
    assert cinderlib.Snapshot.OVO_CLASS is cinders.Snapshot
    assert cinderlib.Connection.OVO_CLASS is cinders.VolumeAttachment
    assert isinstance(objects.CONTEXT, context.RequestContext)
    assert objects.CONTEXT.is_admin
    assert issubclass(objects.Snapshot, objects.LazyVolumeAttr)


def test_the_exceptions_are_cinders_own() -> None:
    from csi_cinderlib.cinder.runtime import load_cinder

    load_cinder()
    from cinder import exception

    assert cinderlib.exception.VolumeNotFound is exception.VolumeNotFound
    assert cinderlib.exception.ConnectionNotFound is exception.VolumeAttachmentNotFound
    with pytest.raises(AttributeError, match="VolumeEaten"):
        cinderlib.exception.VolumeEaten  # type: ignore[attr-defined]  # noqa: B018  # that it raises is the point


def test_importing_it_starts_nothing_and_loads_neither_cinder_nor_os_brick() -> None:
    code = """
import json, logging, os, sys, threading, warnings
before = list(logging.getLogger().handlers), len(warnings.filters), set(os.listdir("/proc/self/fd"))
import csi_cinderlib.cinderlib
after = list(logging.getLogger().handlers), len(warnings.filters), set(os.listdir("/proc/self/fd"))
heavy = ("cinder", "os_brick", "oslo_config", "oslo_utils", "eventlet", "sqlalchemy", "grpc", "kubernetes", "cryptography")
print(json.dumps([before == after, threading.active_count(), [name for name in heavy if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert json.loads(done.stdout) == [True, 1, []]


def test_objects_are_the_same_by_both_names() -> None:
    assert (objects.Volume, objects.Backend) == (cinderlib.Volume, cinderlib.Backend)
