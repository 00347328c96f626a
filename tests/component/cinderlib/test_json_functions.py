"""The functions of cinderlib's modules `objects` and `serialization` that set up the library or convert Cinder's objects."""

from __future__ import annotations

import json
from typing import Any

from csi_cinderlib.cinderlib import objects
from tests.component.cinderlib.conftest import NOTHING
from tests.support.fakes.cinderlib_plugins import Remembering


def test_objects_setup_creates_or_changes_the_set_up(process_wide: Any) -> None:
    plugin = Remembering()
    objects.setup(plugin, process_wide.Backend, "p", "u", non_uuid_ids=True)
    assert process_wide.Backend.persistence.calls is plugin.calls
    kept = process_wide.Backend.persistence
    objects.Object.setup(kept, process_wide.Backend, None, "w", non_uuid_ids=False)
    assert process_wide.Backend.persistence is kept
    assert (process_wide.Backend.project_id, process_wide.Backend.user_id) == ("cinderlib", "w")
    objects.setup(Remembering(), process_wide.Backend, None, None, non_uuid_ids=False)
    assert process_wide.Backend.persistence.calls == []


def test_the_json_functions_work_on_any_of_cinders_objects(process_wide: Any) -> None:
    serialization = process_wide.serialization
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    serialization.setup(process_wide.Backend)
    assert serialization.BACKEND_CLASS is process_wide.Backend
    volume = backend.create_volume(1, name="data", metadata={"a": "b"}, extra_specs={"tier": "1"})
    ovo = volume._ovo
    primitive = serialization.obj_to_primitive(ovo, visited={id(ovo.volume_type)})
    assert json.loads(json.dumps(primitive)) == primitive
    assert "volume_type" not in primitive["versioned_object.data"]
    again = serialization.obj_from_primitive(type(ovo), {**primitive, "cinderlib.data": {"x": 1}})
    assert (again.display_name, again.metadata, again.cinderlib_data) == ("data", {"a": "b"}, {"x": 1})
    assert (
        serialization.field_ovo_to_primitive(ovo, "volume_type", ovo.volume_type)["versioned_object.name"]
        == "VolumeType"
    )
    assert serialization.field_to_primitive(ovo.fields["size"], ovo, "size", 5) == 5
    assert serialization.field_to_primitive(ovo.fields["size"], ovo, "size", None) is None
    assert serialization.dict_to_primitive(ovo.fields["metadata"]._type, ovo, "metadata", {"a": "b"}) == {"a": "b"}
    assert serialization.datetime_to_primitive(ovo, "created_at", ovo.created_at).endswith("Z")


def test_the_json_functions_for_types_of_fields_need_no_patched_class() -> None:
    from csi_cinderlib.cinderlib import serialization

    class Upper:
        @staticmethod
        def to_primitive(_obj: Any, attr: str, value: str) -> str:
            return f"{attr}={value.upper()}"

    class Several:
        _element_type = Upper

    skipped = "skipped"
    found = serialization.iterable_to_primitive(Several, None, "x", ["a", skipped], visited={id(skipped)})
    assert found == ["x=A"]
    serialization.wrap_to_primitive(Upper)
    wrapped: Any = Upper.to_primitive
    assert wrapped(None, "y", "b", visited=set()) == "y=B"
