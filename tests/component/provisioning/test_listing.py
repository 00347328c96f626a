from dataclasses import replace

import pytest

from csi_cinderlib.errors import OperationPending
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Page
from csi_cinderlib.provisioning import listing

VOLUME = Volume(id="b", backend="x", size=GiB(1), status=Status.AVAILABLE)


def attached(volume: str, node: str, status: Status = Status.AVAILABLE) -> Attachment:
    return Attachment(
        id=volume + node,
        volume_id=volume,
        backend="x",
        node_id=node,
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        status=status,
    )


def test_volumes_are_listed_with_their_own_nodes() -> None:
    page = Page((VOLUME, replace(VOLUME, id="c")))
    states = listing.states(page, [attached("c", "n2"), attached("b", "n1"), attached("c", "n1")], failure={})
    assert [(state.record.id, state.nodes) for state in states] == [("b", ("n1",)), ("c", ("n1", "n2"))]


def test_a_volume_whose_record_cannot_be_read_keeps_its_place_and_its_nodes() -> None:
    states = listing.states(Page((VOLUME,), corrupt=("a",)), [attached("a", "n1")], failure={})
    assert [(state.record.id, state.nodes, state.condition.abnormal) for state in states] == [
        ("a", ("n1",), True),
        ("b", (), False),
    ]
    assert states[0].record.size == 0


def test_an_array_that_says_pages_of_text_is_quoted_with_the_beginning_of_them() -> None:
    long = listing.condition(replace(VOLUME, message="no route to host " * 300), {})
    assert len(long.message) <= listing.MAX_MESSAGE
    assert long.message.startswith("no route to host")


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETED])
def test_a_volume_that_is_only_being_made_or_kept_for_its_snapshots_is_left_out(status: Status) -> None:
    assert listing.states(Page((replace(VOLUME, status=status),)), [], failure={}) == ()


@pytest.mark.parametrize(
    ("status", "listed"),
    [(Status.CREATING, ()), (Status.AVAILABLE, ("n",)), (Status.DELETING, ("n",)), (Status.ERROR, ("n",))],
)
def test_a_node_is_listed_as_long_as_it_may_reach_the_volume(status: Status, listed: tuple[str, ...]) -> None:
    assert listing.published([attached("b", "n", status)]) == listed


@pytest.mark.parametrize(
    ("volume", "failure", "abnormal", "words"),
    [
        (VOLUME, {}, False, "available"),
        (replace(VOLUME, status=Status.EXTENDING), {}, False, "extending"),
        (replace(VOLUME, status=Status.ERROR), {}, True, "error"),
        (replace(VOLUME, message="the array said no"), {}, True, "the array said no"),
        (VOLUME, {"x": "no route to host"}, True, "no route to host"),
        (VOLUME, {"y": "no route to host"}, False, "available"),
    ],
)
def test_the_condition_is_abnormal_when_somebody_should_look(
    volume: Volume, failure: dict[str, str], abnormal: bool, words: str
) -> None:
    condition = listing.condition(volume, failure)
    assert condition.abnormal is abnormal
    assert words in condition.message


def test_a_token_leads_back_to_where_the_page_ended() -> None:
    assert listing.decode_token(listing.encode_token("some-id")) == "some-id"
    assert listing.decode_token("") == ""
    assert listing.encode_token("") == ""


@pytest.mark.parametrize("token", ["bogus", "after:", "some-id"])
def test_a_token_of_somebody_else_means_start_over(token: str) -> None:
    with pytest.raises(OperationPending, match="starting_token"):
        listing.decode_token(token)


@pytest.mark.parametrize(("limit", "size"), [(0, 100), (7, 7), (100, 100), (5000, 100)])
def test_no_page_is_larger_than_an_answer_may_be(limit: int, size: int) -> None:
    assert listing.limit_page(limit, 100) == size
