"""Changes of stage records that survive the end of the process; after the loss of power any part of them may be gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.node import durable_files
from csi_cinderlib.node.amendments import Amendments
from csi_cinderlib.node.stage_record import State, encode
from csi_cinderlib.node.stage_records import StageRecords
from tests.component.node.test_stage_records import READ_ONLY, RECORD, VAULT, WITHOUT_PASSWORD


@pytest.fixture
def changes(tmp_path: Path) -> Amendments:
    return Amendments(tmp_path / "changes")


def latest(changes: Amendments, durable: bytes, name: str = "a") -> bytes:
    return changes.latest(name, lambda: durable)


def test_the_last_change_counts(changes: Amendments) -> None:
    assert latest(changes, b"old") == b"old"
    for content in (b"one", b"two"):
        assert changes.add("a", content, instead_of=b"old")
        assert latest(changes, b"old") == content
    assert latest(changes, b"old", "b") == b"old"
    changes.forget("a")
    changes.forget("a")
    assert latest(changes, b"old") == b"old"


def test_a_change_of_an_earlier_content_does_not_count(changes: Amendments) -> None:
    """The process ended after it stored the next content and before it removed the changes of the previous one."""
    changes.add("a", b"changed", instead_of=b"old")
    assert latest(changes, b"new") == b"new"
    changes.add("a", b"changed again", instead_of=b"new")
    assert latest(changes, b"new") == b"changed again"
    assert latest(changes, b"old") == b"changed"


def test_a_content_that_is_stored_while_it_is_read_is_the_latest(changes: Amendments) -> None:
    """Statistics are read without the volume's lock."""
    changes.add("a", b"changed", instead_of=b"old")

    def store() -> bytes:
        changes.forget("a")
        changes.add("a", b"changed again", instead_of=b"new")
        return b"new"

    assert changes.latest("a", store) == b"new"
    assert latest(changes, b"new") == b"changed again"


def test_of_a_torn_file_the_last_whole_change_counts(changes: Amendments, tmp_path: Path) -> None:
    changes.add("a", b"first", instead_of=b"old")
    file = tmp_path / "changes" / "a"
    one = file.read_bytes()
    changes.add("a", b"second", instead_of=b"old")
    both = file.read_bytes()
    for length in range(len(both)):
        torn = both[:length]
        for content in (torn, torn.ljust(len(both), b"\0"), bytes(length) + both[length:]):
            file.write_bytes(content)
            assert latest(changes, b"old") in (b"old", b"first", b"second")
        file.write_bytes(torn)
        assert latest(changes, b"old") == (b"first" if length >= len(one) else b"old")
        changes.add("a", b"third", instead_of=b"old")
        assert latest(changes, b"old") == b"third", "what comes after a part of a change is whole"


@pytest.mark.parametrize("place", range(40))
def test_a_change_with_a_wrong_byte_does_not_count(changes: Amendments, tmp_path: Path, place: int) -> None:
    changes.add("a", b"the changed content", instead_of=b"the old content")
    file = tmp_path / "changes" / "a"
    content = bytearray(file.read_bytes())
    content[1 + place] ^= 1
    file.write_bytes(content)
    assert latest(changes, b"the old content") == b"the old content"


def test_a_record_that_was_written_by_hand_is_not_changed_in_this_way(changes: Amendments) -> None:
    assert not changes.add("a", b"changed", instead_of=b"{\n}\n")
    assert not changes.add("a", b"chan\nged", instead_of=b"{}")
    assert not changes.add("a", b"chan\tged", instead_of=b"{}")
    assert changes.add("a", b"changed", instead_of=b"{\t}")
    assert latest(changes, b"{\t}") == b"changed"


def test_the_file_of_changes_has_an_end(changes: Amendments, tmp_path: Path) -> None:
    count = 0
    while changes.add("a", b"x" * 1000, instead_of=b"y" * 1000):
        count += 1
    assert 30 < count < 33
    assert (tmp_path / "changes" / "a").stat().st_size <= 64 * 1024
    assert latest(changes, b"y" * 1000) == b"x" * 1000


def test_changes_are_for_root_alone_and_written_through_no_link(changes: Amendments, tmp_path: Path) -> None:
    changes.add("a", b"changed", instead_of=b"old")
    assert (tmp_path / "changes").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "changes" / "a").stat().st_mode & 0o777 == 0o600
    (tmp_path / "changes" / "b").symlink_to("../elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        changes.add("b", b"changed", instead_of=b"old")


# --- in stage records


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*"))


def test_a_change_of_a_record_survives_the_process(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    saved = records.save(READ_ONLY, this_boot=True)
    again = StageRecords(tmp_path)
    assert again.find("vol") == saved == replace(READ_ONLY, boot_id=again.boot_id)
    assert again.all().records == (saved,)


def test_a_record_that_is_stored_ends_its_changes(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    records.save(READ_ONLY, this_boot=True)
    staged = records.save(replace(WITHOUT_PASSWORD, state=State.STAGED))
    assert names(tmp_path / "stage-changes") == []
    assert StageRecords(tmp_path).find("vol") == staged


def test_a_change_is_stored_where_there_is_no_record(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    saved = records.save(RECORD, this_boot=True)
    assert (names(records.directory), names(tmp_path / "stage-changes")) == (["vol.json"], [])
    assert StageRecords(tmp_path).find("vol") == saved


def test_a_record_with_many_changes_is_stored(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    for number in range(200):
        saved = records.save(replace(RECORD, fs_type=f"number-{number}"), this_boot=True)
        assert records.find("vol") == StageRecords(tmp_path).find("vol") == saved
    assert sum(path.stat().st_size for path in (tmp_path / "stage-changes").iterdir()) <= 64 * 1024


def test_what_the_loss_of_power_kept_of_a_change_hides_no_record(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    saved = records.save(RECORD)
    records.save(READ_ONLY, this_boot=True)
    file = tmp_path / "stage-changes" / "vol.json"
    file.write_bytes(file.read_bytes()[:-1])
    again = StageRecords(tmp_path)
    assert again.find("vol") == saved
    assert again.all().corrupt == ()


def test_changes_go_with_their_record(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    records.save(READ_ONLY, this_boot=True)
    records.remove("vol")
    assert names(tmp_path / "stage-changes") == []
    assert records.find("vol") is None


def test_a_process_that_ends_in_a_removal_leaves_no_earlier_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    saved = records.save(READ_ONLY, this_boot=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(durable_files, "remove", _interrupted)
        records.remove("vol")
    assert StageRecords(tmp_path).find("vol") == saved
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Amendments, "forget", _interrupted)
        records.remove("vol")
    assert StageRecords(tmp_path).all().records == ()
    assert names(tmp_path / "stage-changes") == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_changes_of_a_record_that_is_gone_are_swept(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    for volume_id in ("vol", "gone"):
        records.save(replace(RECORD, volume_id=volume_id))
        records.save(replace(READ_ONLY, volume_id=volume_id), this_boot=True)
    (records.directory / "gone.json").unlink()
    StageRecords(tmp_path)
    assert names(tmp_path / "stage-changes") == ["vol.json"]


def test_a_node_makes_nothing_for_changes_before_there_is_one(tmp_path: Path) -> None:
    """It starts on a full disk, also after an update from a version without them."""
    records = StageRecords(tmp_path)
    records.save(RECORD)
    records.remove("vol")
    assert not (tmp_path / "stage-changes").exists()


def test_a_change_under_another_volumes_name_is_corrupt_as_a_record_is(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    Amendments(tmp_path / "stage-changes").add(
        "vol.json",
        encode(replace(RECORD, volume_id="x"), VAULT),
        instead_of=(records.directory / "vol.json").read_bytes(),
    )
    assert [error.id for error in StageRecords(tmp_path).all().corrupt] == ["vol"]
