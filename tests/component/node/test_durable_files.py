"""Small files that survive the loss of power: what is called, and in which order."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from csi_cinderlib.node import durable_files
from csi_cinderlib.node.format_marks import FormatMarks
from csi_cinderlib.node.stage_records import StageRecords
from tests.component.node.test_stage_records import READ_ONLY, RECORD


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel is asked that counts for durability, while it is done."""
    seen: list[str] = []

    def fsync(fd: int, real: object = os.fsync) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        seen.append(f"fsync {path.name} of {path.stat().st_size} bytes" if path.is_file() else f"fsync {path.name}/")
        real(fd)  # type: ignore[operator] # the real one

    def rename(source: str, target: Path, real: object = os.rename) -> None:
        seen.append(f"rename {Path(source).name} {target.name}")
        real(source, target)  # type: ignore[operator] # the real one

    def unlink(path: str | Path, real: object = os.unlink) -> None:
        real(path)  # type: ignore[operator] # the real one
        seen.append(f"unlink {Path(path).parent.name}/{Path(path).name}")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "unlink", unlink)
    return seen


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_answer(
    tmp_path: Path, calls: list[str]
) -> None:
    durable_files.store(tmp_path / "a", b"content")
    assert calls == ["fsync a.new of 7 bytes", "rename a.new a", f"fsync {tmp_path.name}/"]
    calls.clear()
    durable_files.remove(tmp_path / "a")
    assert calls == [f"unlink {tmp_path.name}/a", f"fsync {tmp_path.name}/"]


def test_stage_records_and_format_marks_are_durable_when_they_are_answered(tmp_path: Path, calls: list[str]) -> None:
    records = StageRecords(tmp_path)
    assert calls == ["fsync record-key.new of 45 bytes", "rename record-key.new record-key", f"fsync {tmp_path.name}/"]
    calls.clear()
    records.save(RECORD)
    assert [call.split()[0] for call in calls] == ["fsync", "rename", "fsync"]
    assert calls[-1] == "fsync stage/"
    calls.clear()
    durable = (records.directory / "vol.json").read_bytes()
    records.save(READ_ONLY, this_boot=True)
    assert calls == [], "the durable record is as it was, whole after the loss of power"
    assert (records.directory / "vol.json").read_bytes() == durable
    records.note(RECORD)
    assert calls == []
    records.remove("vol")
    assert calls == ["unlink stage/vol.json", "fsync stage/", "unlink stage-changes/vol.json"]
    calls.clear()
    FormatMarks(tmp_path / "formatted").set("vol", "a@1")
    assert calls == ["fsync vol.new of 3 bytes", "rename vol.new vol", "fsync formatted/"]


def test_the_directory_is_for_root_alone(tmp_path: Path) -> None:
    directory = tmp_path / "not" / "there yet"
    for _ in range(2):
        durable_files.prepare(directory)
        assert directory.stat().st_mode & 0o777 == 0o700


def test_what_a_crash_left_of_a_longer_file_is_not_in_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "a.new").write_bytes(b"longer than the content")
    durable_files.store(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / "a.new").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        durable_files.store(tmp_path / "a", b"content")
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_is_not_on_the_disk_is_an_error_and_takes_no_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    durable_files.store(tmp_path / "a", b"old")

    def full(_fd: int) -> None:
        if is_gone:
            (tmp_path / "a.new").unlink()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        durable_files.store(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_no_volume_can_take_the_place_of_another_one(tmp_path: Path) -> None:
    hashed = durable_files.name_of("a/b")
    assert durable_files.name_of(hashed) != hashed


@pytest.mark.parametrize("volume_id", ["vol", "../../etc/passwd", "sha256-abc", "a.new", ".hidden"])
def test_no_volume_can_take_the_place_of_another_ones_unfinished_file(tmp_path: Path, volume_id: str) -> None:
    name = durable_files.name_of(volume_id)
    assert Path(name).name == name
    assert not name.endswith(".new")
