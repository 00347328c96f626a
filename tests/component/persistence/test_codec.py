from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.errors import CorruptRecord, InvalidRequest
from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    Imported,
    KeyValue,
    Provider,
    Snapshot,
    Volume,
    VolumeType,
)
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import KINDS
from csi_cinderlib.persistence.contract.samples import (
    ATTACHMENT,
    KEY_VALUE,
    RECORDS,
    SNAPSHOT,
    VOLUME,
    Scrambler,
    volume,
)
from csi_cinderlib.persistence.jsonschema import schema

TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ids = pytest.mark.parametrize("record", RECORDS, ids=lambda record: codec.kind_name(type(record)))


@ids
def test_the_samples_set_every_field(record: Any) -> None:
    unset = [
        item.name
        for item in fields(record)
        if item.name not in ("revision", "unknown") and getattr(record, item.name) == item.default
    ]
    assert unset == []


@ids
@pytest.mark.parametrize("sealer", [None, Scrambler()], ids=["plain", "sealed"])
def test_a_record_comes_back_exactly(record: Any, sealer: Scrambler | None) -> None:
    text = codec.to_text(record, sealer)
    assert text.isascii()
    assert codec.from_text(type(record), text, id=record.id, sealer=sealer) == record
    assert codec.from_text(type(record), text, id=record.id, revision="7", sealer=sealer) == replace(
        record, revision="7"
    )


@given(
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
    fields=st.dictionaries(TEXT, JSON, max_size=3),
    message=TEXT,
    provider=st.builds(Provider, location=st.none() | TEXT, auth=st.none() | TEXT),
    kind=st.none() | st.builds(VolumeType, name=TEXT, qos_consumer=TEXT),
    unknown=st.dictionaries(TEXT.map("x{}".format), JSON, max_size=3),
)
def test_any_values_come_back_exactly(
    metadata: Any, fields: Any, message: str, provider: Provider, kind: VolumeType | None, unknown: Any
) -> None:
    record = volume(
        "1", metadata=metadata, fields=fields, message=message, provider=provider, type=kind, unknown=unknown
    )
    for sealer in (None, Scrambler()):
        assert codec.from_text(Volume, codec.to_text(record, sealer), id="1", sealer=sealer) == record


def test_what_is_empty_is_left_out_and_what_is_false_is_not() -> None:
    body = codec.encode(Volume(id="1", backend="b", size=VOLUME.size, blank=False))
    assert body == {
        "v": 1, "kind": "volume", "id": "1", "backend": "b", "size": 7, "status": "creating", "blank": False,
            "mark_void": False, "began_empty": False, "raw": False, "multiattach": False, "unfinished": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"encryption": "x"},
        {"header": "x"},
        {"adoption": "x"},
        {"imported": Imported(name="x")},
        {"provider": Provider(geometry="512")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_only_a_record_with_a_field_that_older_programs_must_not_ignore_has_a_newer_version(
    changes: dict[str, Any],
) -> None:
    assert codec.encode(volume("1"))["v"] == 1
    changed = volume("1", **changes)
    body = codec.encode(changed)
    assert body["v"] == 2
    assert codec.decode(Volume, body, id="1") == changed


def test_a_geometry_that_older_programs_have_written_and_ignore_keeps_the_version() -> None:
    """Cinder's SolidFire driver writes it for each volume, and nothing reads it."""
    changed = volume("1", provider=Provider(geometry="4096 4096"))
    assert codec.encode(changed)["v"] == 1
    assert codec.decode(Volume, codec.encode(changed), id="1") == changed


def test_a_version_is_supported_only_for_kinds_that_have_it() -> None:
    assert codec.encode(replace(SNAPSHOT, adoption="", imported=None, encryption=""))["v"] == 1
    assert codec.encode(SNAPSHOT)["v"] == 2
    with pytest.raises(CorruptRecord, match="unsupported version 2; supported: 1"):
        codec.decode(Attachment, {**codec.encode(ATTACHMENT), "v": 2}, id=ATTACHMENT.id)


def test_a_body_is_made_of_plain_dicts_and_lists_of_its_own() -> None:
    body = codec.encode(VOLUME)
    assert json.loads(json.dumps(body)) == body
    body["fields"]["list"].append("x")
    body["metadata"]["x"] = "x"
    assert codec.encode(VOLUME) != body


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "7"}, "size: must be a whole number, not text"),
        ({"size": True}, "size: must be a whole number, not true or false"),
        ({"blank": 1}, "blank: must be true or false, not a number"),
        ({"name": None}, "name: must be text, not null"),
        ({"status": "lost"}, "status: must be one of creating, importing"),
        ({"status": ["lost"]}, "status: must be one of"),
        ({"metadata": {"a": 1}}, r"metadata\.a: must be text, not a number"),
        ({"metadata": []}, "metadata: must be an object with text values, not a list"),
        ({"provider": "x"}, "provider: must be an object, not text"),
        ({"provider": {"auth": 5}}, r"provider\.auth: must be text, not a number"),
        ({"source": {"kind": "tape", "id": "x"}}, r"source\.kind: must be one of snapshot, volume"),
        ({"source": {"kind": "volume"}}, r"source\.id: is missing"),
        ({"capabilities": {}}, "capabilities: must be a list, not an object"),
        ({"capabilities": [{"access_mode": "SINGLE_NODE_WRITER"}]}, "either mount or block"),
        ({"capabilities": [{"access_mode": "BOTH", "block": {}}]}, "must be one of SINGLE_NODE_WRITER"),
        ({"kind": "snapshot"}, "its kind is 'snapshot'"),
        ({"id": "other"}, "it contains the id 'other'"),
        ({"v": 3}, "unsupported version 3; supported: 1, 2; upgrade csi-cinderlib"),
        ({"v": True}, "unsupported version True"),
        ({"v": None}, "unsupported version None"),
        ({"sealed": {"provider.auth": "scrambled:k1:e30="}}, "no sealing key is configured"),
        ({"sealed": 3}, "sealed: must be an object"),
    ],
    ids=str,
)
def test_a_corrupt_record_says_what_is_wrong_with_it(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptRecord, match=message) as caught:
        codec.decode(Volume, {**codec.encode(VOLUME), **change}, id=VOLUME.id)
    assert VOLUME.id in str(caught.value)


@pytest.mark.parametrize("kind", [Volume, Snapshot, Attachment, Group, GroupSnapshot])
def test_a_record_without_a_status_is_not_taken_for_one_that_is_being_created(kind: Any) -> None:
    """What is being created is undone when nobody asks for it any more."""
    record = next(sample for sample in RECORDS if type(sample) is kind)
    body = codec.encode(record)
    del body["status"]
    with pytest.raises(CorruptRecord, match="status: is missing"):
        codec.decode(kind, body, id=record.id)


@pytest.mark.parametrize("field", ["id", "backend", "size"])
def test_a_missing_field_is_named(field: str) -> None:
    body = codec.encode(VOLUME)
    del body[field]
    with pytest.raises(CorruptRecord, match=f"{field}: is missing"):
        codec.decode(Volume, body, id=VOLUME.id)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "[" * 100_000, b"\xff\xfe", "\ud800"], ids=lambda text: repr(text[:9])
)
def test_what_is_no_json_object_is_corrupt(text: Any) -> None:
    with pytest.raises(CorruptRecord, match=r"not (valid JSON|a JSON object)"):
        codec.from_text(Volume, text, id="1")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"message": None}, "message"),
        ({"size": 1.5}, "size"),
        ({"metadata": {"a": 1}}, r"metadata\.a"),
        ({"fields": {"a": {"b": [...]}}}, r"fields\.a\.b"),
        ({"capabilities": [VOLUME.capabilities[0]]}, "capabilities"),
        ({"capabilities": ("x",)}, "capabilities"),
        ({"provider": None}, "provider"),
        ({"status": "lost"}, "status"),
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_written(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^volume\.{field}: "):
        codec.encode(replace(VOLUME, **change))


def test_endless_nesting_is_refused() -> None:
    nested: dict[str, object] = {}
    nested["again"] = nested
    with pytest.raises(InvalidRequest, match="nested more than"):
        codec.encode(volume("1", fields=nested))


def test_a_sealed_secret_of_another_record_is_refused() -> None:
    sealer = Scrambler()
    mine, other = codec.encode(KEY_VALUE, sealer), codec.encode(KeyValue(id="other", value="x"), sealer)
    with pytest.raises(CorruptRecord, match="value: belongs to another record"):
        codec.decode(KeyValue, {**mine, "sealed": other["sealed"]}, id=KEY_VALUE.id, sealer=sealer)


@pytest.mark.parametrize("plain", [b"{}", b"[1]", b"nonsense", b"[1,2,3,4]"])
def test_a_sealed_text_of_another_program_is_refused(plain: bytes) -> None:
    sealer = Scrambler()
    body = {**codec.encode(KEY_VALUE, sealer), "sealed": {"value": sealer.seal(plain)}}
    with pytest.raises(CorruptRecord, match=r"value: (was not sealed|belongs)"):
        codec.decode(KeyValue, body, id=KEY_VALUE.id, sealer=sealer)


def test_a_secret_that_only_a_newer_program_seals_is_kept_sealed() -> None:
    sealer = Scrambler()
    body = codec.encode(ATTACHMENT, sealer)
    body["sealed"]["connector"] = "k:9:token"
    record = codec.decode(type(ATTACHMENT), body, id=ATTACHMENT.id, sealer=sealer)
    assert record.connection_info == ATTACHMENT.connection_info
    assert codec.encode(record, sealer)["sealed"]["connector"] == "k:9:token"


def test_the_schema_describes_every_field_of_every_kind() -> None:
    definitions = schema()["$defs"]
    for kind in KINDS:
        names = {item.name for item in fields(kind)} - {"revision", "unknown"}
        assert definitions[codec.kind_name(kind)]["properties"].keys() - {"v", "kind", "sealed"} == names


@ids
def test_the_schema_accepts_what_is_written_and_refuses_a_changed_type(record: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for sealer in (None, Scrambler()):
        body = codec.encode(record, sealer)
        jsonschema.validate(body, schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**body, "id": 5}, schema())


@ids
def test_a_record_that_was_read_is_as_one_that_was_made(record: Any) -> None:
    """It is put together in a quicker way than by calling its class."""
    read = codec.from_text(type(record), codec.to_text(record), id=record.id, revision=record.revision)
    assert type(read) is type(record)
    assert (read, repr(read)) == (record, repr(record))
    assert replace(read, id="another") == replace(record, id="another")
    with pytest.raises(FrozenInstanceError):
        read.id = "changed"
