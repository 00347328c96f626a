import pytest

from csi_cinderlib.errors import OutOfRange
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import Bytes, GiB, SizeRange
from csi_cinderlib.provisioning.creation import choose_size
from csi_cinderlib.provisioning.volumes import choose_extension

GIB = 1024**3
MIB = 1024**2


def asked(required: int = 0, limit: int = 0) -> SizeRange:
    return SizeRange(Bytes(required), Bytes(limit))


def volume(size: int, target: int | None = None) -> Volume:
    status = Status.AVAILABLE if target is None else Status.EXTENDING
    return Volume(
        id="v", backend="b", size=GiB(size), status=status, target_size=None if target is None else GiB(target)
    )


@pytest.mark.parametrize(
    ("required", "limit", "source", "size"),
    [
        (0, 0, None, 1),
        (1, 0, None, 1),
        (1500 * MIB, 0, None, 2),
        (2 * GIB, 2 * GIB, None, 2),
        (0, 0, 7, 7),
        (0, 8 * GIB, 7, 7),
        (7 * GIB, 0, 7, 7),
        (9 * GIB, 0, 7, 9),
        (7 * GIB - 1, 0, 7, 7),
    ],
)
def test_a_new_volume_is_the_smallest_that_is_enough(required: int, limit: int, source: int | None, size: int) -> None:
    assert choose_size(asked(required, limit), source=None if source is None else GiB(source)) == size


@pytest.mark.parametrize(
    ("required", "limit", "source"),
    [(3 * GIB, 0, 4), (0, 3 * GIB, 4), (1500 * MIB, 1600 * MIB, None), (1, 1, None)],
)
def test_a_size_that_no_whole_gib_or_its_source_fits_is_out_of_range(
    required: int, limit: int, source: int | None
) -> None:
    with pytest.raises(OutOfRange):
        choose_size(asked(required, limit), source=None if source is None else GiB(source))


@pytest.mark.parametrize(
    ("have", "required", "limit", "size"),
    [
        (2, 3 * GIB, 0, 3),
        (2, 2 * GIB + 1, 0, 3),
        (2, 2 * GIB, 0, None),
        (5, 2 * GIB, 0, None),
        (5, 2 * GIB, 5 * GIB, None),
        (2, 0, 0, None),
    ],
)
def test_an_extension_reaches_what_is_asked_and_never_shrinks(
    have: int, required: int, limit: int, size: int | None
) -> None:
    assert choose_extension(volume(have), asked(required, limit)) == size


def test_a_limit_below_what_the_volume_has_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        choose_extension(volume(5), asked(2 * GIB, 4 * GIB))


def test_a_limit_between_two_whole_gib_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        choose_extension(volume(1), asked(1500 * MIB, 1600 * MIB))


@pytest.mark.parametrize(("required", "size"), [(2 * GIB, 4), (4 * GIB, 4), (6 * GIB, 6)])
def test_an_extension_that_was_begun_is_finished_first(required: int, size: int) -> None:
    assert choose_extension(volume(2, target=4), asked(required)) == size
