"""Every public name of cinderlib 5.2.0 is here, and takes what it took."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinderlib import objects

HANDLE = {
    "json": "",
    "jsons": "",
    "dump": "",
    "dumps": "",
    "backend": "",
    "to_json": "simplified=",
    "to_jsons": "simplified=",
    "to_dict": "()",
    "load": "json_src save=",
    "new_uuid": "()",
    "refresh": "()",
    "save": "()",
}
NAMED = {
    **HANDLE,
    "name": "",
    "description": "",
    "name_in_storage": "",
    "get_by_name": "",
    "create": "()",
    "delete": "()",
}
EXPECTED: dict[str, dict[str, str]] = {
    "": {
        "DEFAULT_PROJECT_ID": "",
        "DEFAULT_USER_ID": "",
        "Volume": "backend_or_vol pool_name= **kwargs",
        "Snapshot": "volume **kwargs",
        "Connection": "",
        "KeyValue": "key= value=",
        "load": "json_src save=",
        "json": "()",
        "jsons": "()",
        "dump": "()",
        "dumps": "()",
        "setup": "file_locks_path= root_helper= suppress_requests_ssl_warnings= disable_logs= non_uuid_ids= "
        "output_all_backend_info= project_id= user_id= persistence_config= fail_on_missing_backend= host= "
        "**cinder_config_params",
        "Backend": "volume_backend_name **driver_cfg",
        "get_connector_properties": "root_helper my_ip multipath enforce_multipath host= execute=",
        "list_supported_drivers": "output_version=",
        "objects": "",
        "exception": "",
        "serialization": "",
        "__version__": "",
    },
    "exception": {
        "NotFound": "",
        "VolumeNotFound": "",
        "SnapshotNotFound": "",
        "ConnectionNotFound": "",
        "InvalidVolume": "",
        "InvalidPersistence": "name",
        "NotLocal": "name",
    },
    "objects": {
        "Volume": "",
        "Snapshot": "",
        "Connection": "",
        "KeyValue": "",
        "Object": "",
        "NamedObject": "",
        "Backend": "",
        "DEFAULT_PROJECT_ID": "",
        "DEFAULT_USER_ID": "",
    },
    "serialization": {"load": "json_src save=", "json": "()", "jsons": "()", "dump": "()", "dumps": "()"},
    "Backend": {
        "backends": "",
        "persistence": "",
        "fail_on_missing_backend": "",
        "output_all_backend_info": "",
        "project_id": "",
        "user_id": "",
        "pool_names": "",
        "id": "",
        "volumes": "",
        "volumes_filtered": "volume_id= volume_name=",
        "stats": "refresh=",
        "create_volume": "size name= description= bootable= **kwargs",
        "validate_connector": "connector_dict",
        "set_persistence": "persistence_config",
        "global_setup": "",
        "config": "",
        "json": "",
        "jsons": "",
        "dump": "",
        "dumps": "",
        "load": "json_src save=",
        "load_backend": "backend_data",
        "refresh": "()",
        "list_supported_drivers": "output_version=",
    },
    "Volume": {
        **NAMED,
        "snapshots": "",
        "connections": "",
        "get_by_id": "volume_id",
        "extend": "size",
        "clone": "**new_vol_attrs",
        "create_snapshot": "name= description= **kwargs",
        "attach": "()",
        "detach": "force= ignore_errors=",
        "connect": "connector_dict **ovo_fields",
        "disconnect": "connection force=",
        "cleanup": "()",
    },
    "Snapshot": {**NAMED, "volume": "", "get_by_id": "snapshot_id", "create_volume": "**new_vol_params"},
    "Connection": {
        **HANDLE,
        "connect": "volume connector **kwargs",
        "conn_info": "",
        "protocol": "",
        "connector_info": "",
        "device": "",
        "path": "",
        "connector": "",
        "attached": "",
        "connected": "",
        "disconnect": "force=",
        "device_attached": "device",
        "attach": "()",
        "detach": "force= ignore_errors= exc=",
        "get_by_id": "connection_id",
        "backend": "",
        "extend": "()",
        "volume": "",
    },
}
PERSISTENCE = {
    "db": "",
    "get_volumes": "volume_id= volume_name= backend_name=",
    "get_snapshots": "snapshot_id= snapshot_name= volume_id=",
    "get_connections": "connection_id= volume_id=",
    "get_key_values": "key=",
    "set_volume": "volume",
    "set_snapshot": "snapshot",
    "set_connection": "connection",
    "set_key_value": "key_value",
    "delete_volume": "volume",
    "delete_snapshot": "snapshot",
    "delete_connection": "connection",
    "delete_key_value": "key_value",
}


def taken(where: str) -> Any:
    if where in ("exception", "objects", "serialization"):
        return importlib.import_module(f"csi_cinderlib.cinderlib.{where}")
    return getattr(cinderlib, where) if where else cinderlib


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


@pytest.mark.parametrize("where", EXPECTED)
def test_a_public_name_exists_and_takes_what_it_took(where: str) -> None:
    home, wrong = taken(where), {}
    for name, wanted in EXPECTED[where].items():
        if not hasattr(home, name):
            wrong[name] = "is missing"
        elif wanted and (lacks := accepts(inspect.signature(getattr(home, name)), wanted)):
            wrong[name] = f"does not take {lacks}"
    assert wrong == {}


def test_the_metadata_can_be_asked_by_the_same_names(process_wide: Any) -> None:
    process_wide.setup()
    for name, wanted in PERSISTENCE.items():
        found = getattr(process_wide.Backend.persistence, name)
        assert not wanted or accepts(inspect.signature(found), wanted) == "", name


def test_the_exceptions_are_cinders_own() -> None:
    from csi_cinderlib.backend.runtime import load_cinder

    load_cinder()
    from cinder import exception

    assert cinderlib.exception.VolumeNotFound is exception.VolumeNotFound
    assert cinderlib.exception.ConnectionNotFound is exception.VolumeAttachmentNotFound
    with pytest.raises(AttributeError, match="VolumeEaten"):
        cinderlib.exception.VolumeEaten  # noqa: B018  # that it raises is the point


def test_importing_it_starts_nothing_and_loads_neither_cinder_nor_os_brick() -> None:
    code = """
import json, logging, os, sys, threading, warnings
before = list(logging.getLogger().handlers), len(warnings.filters), set(os.listdir("/proc/self/fd"))
import csi_cinderlib.cinderlib
after = list(logging.getLogger().handlers), len(warnings.filters), set(os.listdir("/proc/self/fd"))
heavy = ("cinder", "os_brick", "oslo_config", "oslo_utils", "eventlet", "sqlalchemy", "grpc", "kubernetes", "cryptography")
print(json.dumps([before == after, threading.active_count(), [name for name in heavy if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [True, 1, []]


def test_objects_are_the_same_by_both_names() -> None:
    assert (objects.Volume, objects.Backend) == (cinderlib.Volume, cinderlib.Backend)
