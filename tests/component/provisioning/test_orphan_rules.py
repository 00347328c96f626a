from datetime import UTC, datetime, timedelta

import pytest

from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import parse, stamp
from csi_cinderlib.provisioning.orphans import due

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
GRACE = timedelta(minutes=10)


def volume(status: Status, created_at: str) -> Volume:
    return Volume(id="v", backend="b", size=GiB(1), status=status, created_at=created_at)


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR])
def test_what_was_being_made_is_due_after_the_grace(status: Status) -> None:
    assert not due(volume(status, stamp(NOW - timedelta(minutes=9))), NOW, GRACE)
    assert not due(volume(status, stamp(NOW - GRACE)), NOW, GRACE)
    assert due(volume(status, stamp(NOW - timedelta(minutes=11))), NOW, GRACE)


def test_what_was_being_made_nobody_knows_when_is_due() -> None:
    assert due(volume(Status.CREATING, "yesterday"), NOW, GRACE)


@pytest.mark.parametrize("status", [Status.DELETING, Status.EXTENDING])
def test_what_was_being_deleted_or_extended_is_due_at_once(status: Status) -> None:
    assert due(volume(status, stamp(NOW)), NOW, GRACE)


def test_what_is_whole_is_never_due() -> None:
    assert not due(volume(Status.AVAILABLE, stamp(NOW - timedelta(days=900))), NOW, GRACE)


def test_times_survive_being_written_down() -> None:
    assert parse(stamp(NOW)) == NOW
    assert stamp(NOW) == "2026-05-01T12:00:00.123456Z"
