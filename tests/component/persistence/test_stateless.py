from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.contract.samples import RECORDS, SECRETS, VOLUME, Scrambler
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.stateless import StatelessStore, dump_record, load_record


@pytest.fixture
def full() -> StatelessStore:
    store = StatelessStore()
    for record in RECORDS:
        store.add(record)
    return store


def test_what_was_dumped_is_loaded_exactly_with_its_revisions(full: StatelessStore) -> None:
    other = StatelessStore()
    other.load(full.dump())
    for record in RECORDS:
        assert other.get(type(record), record.id) == full.get(type(record), record.id)
    assert other.dump() == full.dump()
    stored = full.get(Volume, VOLUME.id)
    assert other.replace(stored).revision != stored.revision


def test_the_plugin_takes_a_dump_as_its_option(full: StatelessStore, tmp_path: Path) -> None:
    store = open_store("stateless", {"document": full.dump()}, state_dir=tmp_path)
    assert store.get(Volume, VOLUME.id) == full.get(Volume, VOLUME.id)
    with pytest.raises(ConfigurationError, match=r"store\.options\.document: is not valid JSON"):
        open_store("stateless", {"document": "{"}, state_dir=tmp_path)


def test_kinds_and_fields_of_a_newer_program_are_kept(full: StatelessStore) -> None:
    document = json.loads(full.dump())
    document["records"][0]["record"]["colour"] = "blue"
    document["records"].append({"kind": "mirror", "id": "m", "revision": "1", "record": {"v": 9}})
    store = StatelessStore()
    store.load(json.dumps(document))
    assert json.loads(store.dump()) == document


def test_secrets_are_sealed_in_a_dump_when_there_is_a_sealer() -> None:
    store = StatelessStore(Scrambler())
    for record in RECORDS:
        store.add(record)
    assert [secret for secret in SECRETS if secret in store.dump().encode()] == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "is not valid JSON"),
        ("[]", "must have the format"),
        ('{"format":"other"}', "must have the format"),
        ('{"format":"csi-cinderlib/records","v":2}', "unsupported version 2"),
        ('{"format":"csi-cinderlib/records","v":1}', "contains no list"),
        ('{"format":"csi-cinderlib/records","v":1,"records":[5]}', "without kind, id and revision"),
        ('{"format":"csi-cinderlib/records","v":1,"records":[{"kind":"volume"}]}', "without kind, id and revision"),
    ],
)
def test_what_is_no_dump_is_refused(document: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        StatelessStore().load(document)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: kind_name(type(record)))
@pytest.mark.parametrize("sealer", [None, Scrambler()], ids=["plain", "sealed"])
def test_a_single_record_comes_back_exactly(full: StatelessStore, record: Any, sealer: Scrambler | None) -> None:
    stored = full.get(type(record), record.id)
    assert load_record(type(record), dump_record(stored, sealer), sealer) == stored
