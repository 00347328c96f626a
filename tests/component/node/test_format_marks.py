"""What is remembered of a volume's formatting after its stage record is gone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Container
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.node.format_marks import KEPT_SECONDS, FormatMarks


@pytest.mark.parametrize("attachment", ["a@1", ""])
def test_a_mark_counts_for_its_attachment_and_survives_the_process(tmp_path: Path, attachment: str) -> None:
    FormatMarks(tmp_path).set("vol", attachment)
    again = FormatMarks(tmp_path)
    assert again.holds("vol", attachment)
    assert again.holds("vol", attachment)
    assert not again.holds("other", attachment)


def test_another_attachment_replaces_a_mark(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path)
    marks.set("vol", "a@1")
    assert not marks.holds("vol", "a@2")
    assert list(tmp_path.iterdir()) == []
    marks.set("vol", "a@2")
    assert marks.holds("vol", "a@2")


def test_a_mark_that_cannot_be_kept_or_read_is_an_error_of_this_host(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path / "marks")
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"^cannot prepare .*/file/marks: Not a directory"):
        FormatMarks(tmp_path / "file" / "marks")
    (marks.directory / "vol.new").mkdir()
    with pytest.raises(HostError, match=r"^cannot store the format mark of volume vol: Is a directory"):
        marks.set("vol", "a@1")
    (marks.directory / "vol").mkdir()
    with pytest.raises(HostError, match=r"^cannot read .*/marks/vol: Is a directory"):
        marks.holds("vol", "a@1")


def test_marks_that_cannot_be_looked_through_are_an_error_of_this_host(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path / "marks")
    marks.directory.rmdir()
    with pytest.raises(HostError, match=r"^cannot clean up .*/marks: No such file"):
        marks.prune(time.time(), in_use=())


def test_marks_of_volumes_that_went_away_are_pruned(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path)
    now = int(time.time())
    ages = {"old": KEPT_SECONDS + 1, "old-and-staged": KEPT_SECONDS + 1, "just-old-enough": KEPT_SECONDS, "new": 0}
    for name, age in ages.items():
        marks.set(name, "a@1")
        os.utime(tmp_path / name, (now - age,) * 2)
    marks.prune(now, in_use={"old-and-staged"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["just-old-enough", "new", "old-and-staged"]


def test_a_mark_is_kept_from_the_moment_its_volume_was_last_seen_staged(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path)
    marks.set("vol", "a@1")
    later = time.time() + KEPT_SECONDS + 60
    marks.prune(later, in_use={"vol"})
    marks.prune(later + KEPT_SECONDS - 60, in_use=())
    assert marks.holds("vol", "a@1")
    marks.prune(later + KEPT_SECONDS + 60, in_use=())
    assert not marks.holds("vol", "a@1")


class Meanwhile(Container[str]):
    """No volume is staged, and while the first mark is looked at its volume is formatted anew."""

    def __init__(self, marks: FormatMarks) -> None:
        self.setting = threading.Thread(target=marks.set, args=("vol", "a@2"))
        self.waited = False

    def __contains__(self, name: object) -> bool:
        self.setting.start()
        self.setting.join(0.2)
        self.waited = self.setting.is_alive()
        return False


def test_a_volume_is_not_formatted_between_a_look_at_its_old_mark_and_its_removal(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path)
    marks.set("vol", "a@1")
    meanwhile = Meanwhile(marks)
    marks.prune(time.time() + KEPT_SECONDS + 60, in_use=meanwhile)
    meanwhile.setting.join()
    assert meanwhile.waited
    assert marks.holds("vol", "a@2")


def test_a_mark_that_goes_meanwhile_is_none_to_prune(tmp_path: Path) -> None:
    class Cleared(Container[str]):
        def __contains__(self, name: object) -> bool:
            (tmp_path / str(name)).unlink()
            return False

    marks = FormatMarks(tmp_path)
    for volume_id in ("one", "two"):
        marks.set(volume_id, "a@1")
    marks.prune(time.time(), in_use=Cleared())
    assert list(tmp_path.iterdir()) == []
