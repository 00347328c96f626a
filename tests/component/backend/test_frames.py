"""What processes say to each other: our records and errors as they are, other types as plain data or not at all."""

from __future__ import annotations

import enum
import inspect
import pickle
from collections import OrderedDict, namedtuple
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.backend import frames
from csi_cinderlib.model.records import Record, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import KINDS, Page
from csi_cinderlib.persistence.contract import samples


class Text(str):
    """As oslo_i18n's messages."""

    __slots__ = ()


class Number(int):
    pass


Pair = namedtuple("Pair", "left right")


def test_every_kind_of_record_arrives_as_it_was() -> None:
    records = [value for value in vars(samples).values() if isinstance(value, Record)]
    assert len({type(record) for record in records}) == len(KINDS)
    for record in records:
        assert frames.load(frames.dump(record)) == record


def test_what_the_store_answers_arrives_as_it_was() -> None:
    page = Page((samples.VOLUME,), "next", ("corrupt",))
    assert frames.load(frames.dump(page)) == page


@pytest.mark.parametrize(
    "kind", [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DriverError)]
)
def test_every_error_arrives_with_its_words_and_attributes(kind: type[errors.DriverError]) -> None:
    code = getattr(kind.__init__, "__code__", None)
    error = kind(*(f"the {name}" for name in code.co_varnames[1 : code.co_argcount])) if code else kind("words")
    error.__cause__ = ValueError("stays behind")
    arrived = frames.load(frames.dump(error))
    assert (type(arrived), str(arrived), vars(arrived)) == (kind, str(error), vars(error))


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (Text("location"), "location"),
        (Number(7), 7),
        (OrderedDict(a=[Text("b")]), {"a": ["b"]}),
        (Pair(1, 2), [1, 2]),
        (Status.ERROR, Status.ERROR),
        ({"where": ("a", "b"), "kind": Volume}, {"where": ("a", "b"), "kind": Volume}),
    ],
)
def test_drivers_own_types_of_plain_data_arrive_as_plain_data(sent: object, arrives: object) -> None:
    arrived = frames.load(frames.dump(sent))
    assert arrived == arrives
    assert type(arrived) is type(arrives)


@pytest.mark.parametrize("value", [object(), enum.Enum, print, lambda: None])
def test_what_the_other_process_does_not_know_is_not_sent(value: object) -> None:
    with pytest.raises(frames.Unsendable, match=r"cannot send a .* to another process"):
        frames.dump({"value": value})


def test_nothing_is_imported_to_read_a_frame() -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"unknown type (os|posix)\.system"):
        frames.load(pickle.dumps(__import__("os").system))


def test_a_report_is_made_plain_to_any_depth() -> None:
    report: dict[Any, Any] = {"pools": ({"name": Text("a"), 1: object},), "none": None, "size": GiB(3)}
    made = frames.plain(report)
    assert made == {"pools": [{"name": "a", "1": "<class 'object'>"}], "none": None, "size": 3}
    assert frames.load(frames.dump(made)) == made
