"""The fuzzer's own parts: a seed repeats its requests, every field is reached, and what is wrong is found."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz import contexts, wild
from tests.fuzz.judge import Judge, Usage, growth
from tests.fuzz.messages import Requests
from tests.fuzz.run import METHODS
from tests.fuzz.world import World


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    return Requests(World(tmp_path, "node"), ("/foreign",))


def test_a_seed_repeats_its_requests(requests: Requests) -> None:
    first, second = (
        [requests.make(random.Random(number), METHODS[number % len(METHODS)], 0.5) for number in range(300)]
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_field_gets_several_values(requests: Requests, method: object) -> None:
    values: Counter[str] = Counter()
    for number in range(400):
        _count(requests.make(random.Random(number), method, 0.5), values)  # type: ignore[arg-type]  # a parameter of pytest
    wanted = {field.name for field in method.input_type.fields}  # type: ignore[attr-defined]
    assert wanted <= {name.partition("=")[0] for name in values}
    assert all(sum(name.startswith(f"{field}=") for name in values) > 1 for field in wanted)


def _count(message: Message, values: Counter[str]) -> None:
    for field, value in message.ListFields():
        values[f"{field.name}={str(value)[:200]}"] += 1
    for kind in message.DESCRIPTOR.fields:
        if kind.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and not kind.is_repeated:
            values[f"{kind.name}={message.HasField(kind.name)}"] += 1
        elif not kind.is_repeated and not getattr(message, kind.name):
            values[f"{kind.name}=nothing"] += 1


@pytest.mark.parametrize("number", range(100))
def test_contexts_and_bytes_are_distorted_whatever_they_are(number: int) -> None:
    rng = random.Random(number)
    for valid in ("", "plain:", "k:x:y", "plain:eJyrVspLzE1VslIqSyzKTMxJVaoFAC6/BXQ="):
        assert isinstance(contexts.distort(rng, valid, ""), str)
    assert isinstance(wild.distort(rng, b""), bytes)
    assert isinstance(wild.distort(rng, b"payload"), bytes)


@pytest.mark.parametrize(
    ("code", "details", "is_found"),
    [
        (grpc.StatusCode.UNKNOWN, "Exception calling application", True),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", True),
        (grpc.StatusCode.INTERNAL, "unexpected TypeError; see request 01234567 in the log", True),
        (grpc.StatusCode.INTERNAL, "/x: File name too long; see request 01234567 in the log", True),
        (grpc.StatusCode.INTERNAL, "volume v: /x did not appear within 5 s", False),
        (grpc.StatusCode.INVALID_ARGUMENT, "name: must not be empty", False),
        (grpc.StatusCode.OK, "", False),
    ],
)
def test_answers_that_nobody_foresaw_are_found(code: grpc.StatusCode, details: str, *, is_found: bool) -> None:
    judge = Judge()
    for number in range(3):
        judge.answer(number, "Probe", code, details, is_hurried=False)
    assert sorted(judge.findings.values()) == ([3] if is_found else [])


def test_a_caller_in_a_hurry_is_no_finding() -> None:
    judge = Judge()
    judge.answer(1, "Probe", grpc.StatusCode.DEADLINE_EXCEEDED, "", is_hurried=True)
    judge.answer(2, "Probe", grpc.StatusCode.CANCELLED, "", is_hurried=True)
    assert not judge.findings


def test_traces_in_the_log_are_found_and_read_once(tmp_path: Path) -> None:
    log, judge = tmp_path / "log", Judge()
    lines = [
        json.dumps({"event": "call"}),
        json.dumps({"event": "call", "exception": "Traceback ..."}),
        "Traceback (most",
    ]
    log.write_text("\n".join(lines))
    judge.read_log(log)
    judge.read_log(log)
    assert list(judge.findings.values()) == [2]


STEADY = [Usage(90_000 + 500 * (number % 3), 50, 40) for number in range(12)]


def test_what_stays_the_same_is_no_growth() -> None:
    warming = [Usage(60_000, 20, 30), *STEADY[1:]]
    assert growth("server", STEADY) == growth("server", warming) == growth("server", STEADY[:2]) == []


@pytest.mark.parametrize("what", ["memory", "threads", "descriptors"])
def test_what_grows_with_each_rest_is_found(what: str) -> None:
    step = {"memory": (5000, 0, 0), "threads": (0, 4, 0), "descriptors": (0, 0, 4)}[what]
    samples = [Usage(90_000 + step[0] * n, 50 + step[1] * n, 40 + step[2] * n) for n in range(12)]
    (finding,) = growth("server", samples)
    assert finding.startswith(f"{what} of server grow")
