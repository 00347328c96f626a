"""What is remembered of a volume's formatting after its stage record is gone."""

from __future__ import annotations

import os
import time
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


def test_marks_that_cannot_be_looked_through_are_an_error_of_this_host(tmp_path: Path) -> None:
    marks = FormatMarks(tmp_path / "marks")
    marks.directory.rmdir()
    with pytest.raises(HostError, match=r"^looking through .*/marks: No such file"):
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
