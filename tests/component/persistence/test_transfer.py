from __future__ import annotations

import io
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists, CorruptRecord, InvalidRequest, OperationPending
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.persistence.api import Page, Store
from csi_cinderlib.persistence.contract.samples import ATTACHMENT, RECORDS, SECRETS, VOLUME, Scrambler, volume
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.transfer import LONGEST_LINE, examine, export, import_


@pytest.fixture
def full() -> MemoryStore:
    store = MemoryStore()
    for record in RECORDS:
        store.add(record)
    return store


def contents(store: Store) -> list[Any]:
    return [replace(store.get(type(record), record.id), revision="") for record in RECORDS]


def test_everything_arrives_in_another_kind_of_store(full: MemoryStore, tmp_path: Path) -> None:
    exported = export(full, tmp_path / "all")
    target = open_store("sql", state_dir=tmp_path / "state")
    assert import_(target, tmp_path / "all") == exported
    assert contents(target) == contents(full) == list(RECORDS)
    assert (exported.total, exported.records["group-snapshot"]) == (8, 1)
    target.close()


def test_many_pages_and_dependents_arrive(tmp_path: Path) -> None:
    source, target = MemoryStore(), MemoryStore()
    for number in range(1203):
        source.add(volume(f"{number:05}"))
        source.add(replace(ATTACHMENT, id=f"a{number:05}", volume_id=f"{number:05}"))
    export(source, tmp_path / "all")
    assert import_(target, tmp_path / "all").records == {"volume": 1203, "attachment": 1203}
    assert target.get(Attachment, "a01202").volume_id == "01202"


def test_the_file_is_for_its_owner_only_and_sealed_if_asked(full: MemoryStore, tmp_path: Path) -> None:
    export(full, tmp_path / "all", sealer=Scrambler())
    text = (tmp_path / "all").read_bytes()
    assert [secret for secret in SECRETS if secret in text] == []
    assert stat.S_IMODE((tmp_path / "all").stat().st_mode) == 0o600
    target = MemoryStore()
    with pytest.raises(CorruptRecord, match="key"):
        import_(target, tmp_path / "all")
    assert target.page(Volume) == Page(())
    import_(target, tmp_path / "all", sealer=Scrambler())
    assert contents(target) == list(RECORDS)


def test_an_import_that_was_broken_off_can_be_repeated(full: MemoryStore, tmp_path: Path) -> None:
    export(full, tmp_path / "all")
    target = MemoryStore()
    target.add(VOLUME)
    import_(target, tmp_path / "all")
    import_(target, tmp_path / "all")
    assert contents(target) == list(RECORDS)


@pytest.mark.parametrize("other", [volume("other"), replace(VOLUME, message="changed")], ids=["other", "changed"])
def test_a_store_with_something_else_in_it_is_refused_untouched(
    full: MemoryStore, tmp_path: Path, other: Volume
) -> None:
    export(full, tmp_path / "all")
    target = MemoryStore()
    target.add(other)
    with pytest.raises(AlreadyExists, match=other.id):
        import_(target, tmp_path / "all")
    assert [record.id for record in target.page(Volume).records] == [other.id]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace(b'"array1"', b'"array2"', 1), "checksum"),
        (lambda text: text[: text.rindex(b'{"records"')], "truncated"),
        (lambda text: text[:-1], "truncated"),
        (lambda text: b"", "not valid JSON"),
        (lambda text: text.replace(b'"v":1', b'"v":9', 1), "version 9"),
        (lambda text: text.replace(b"csi-cinderlib/export", b"something"), "format"),
        (lambda text: text[:700], "not valid JSON"),
        (lambda text: text.replace(b"\n", b"\n[]\n", 1), "must be a JSON object"),
        (lambda text: b"[" * 100_000, "not valid JSON"),
    ],
    ids=["changed", "last line lost", "last byte lost", "empty", "newer", "foreign", "torn", "list", "nested"],
)
def test_a_damaged_file_is_refused_and_nothing_is_added(
    full: MemoryStore, tmp_path: Path, damage: Any, message: str
) -> None:
    export(full, tmp_path / "all")
    (tmp_path / "all").write_bytes(damage((tmp_path / "all").read_bytes()))
    target = MemoryStore()
    with pytest.raises(InvalidRequest, match=message):
        import_(target, tmp_path / "all")
    assert target.page(Volume) == Page(())


def test_a_file_without_line_ends_is_read_in_parts() -> None:
    asked: list[int | None] = []

    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return b"x"

    with pytest.raises(InvalidRequest, match="not valid JSON"):
        examine(Endless())
    assert set(asked) == {LONGEST_LINE}


def test_an_existing_file_is_left_alone(full: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "all").write_text("precious")
    with pytest.raises(InvalidRequest, match="already exists"):
        export(full, tmp_path / "all")
    assert (tmp_path / "all").read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(full: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="No such file"):
        export(full, tmp_path / "absent" / "all")
    with pytest.raises(InvalidRequest, match="No such file"):
        import_(full, tmp_path / "absent")


def test_a_store_that_changes_meanwhile_gives_no_export(tmp_path: Path) -> None:
    class Busy(MemoryStore):
        def page(self, kind: Any, **query: Any) -> Any:
            answer = super().page(kind, **query)
            if kind is Attachment:
                record = self.get(Volume, VOLUME.id)
                self.replace(replace(record, message=record.message + "!"))
            return answer

    store = Busy()
    store.add(VOLUME)
    with pytest.raises(OperationPending, match="stop the controllers"):
        export(store, tmp_path / "all")
    assert list(tmp_path.iterdir()) == []


def test_a_corrupt_record_stops_an_export_unless_it_may_be_left_out(full: MemoryStore, tmp_path: Path) -> None:
    full._tables[Volume].rows[VOLUME.id].content = "{"
    with pytest.raises(CorruptRecord, match=VOLUME.id):
        export(full, tmp_path / "all")
    done = export(full, tmp_path / "all", skip_corrupt=True)
    assert done.corrupt == (("volume", VOLUME.id),)
    assert json.loads((tmp_path / "all").read_text().splitlines()[-1])["records"].get("volume") is None
