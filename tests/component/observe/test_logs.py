"""Log lines: events with values, one format, and the same redaction for every library."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs, redact

CANARY = "hunter2-canary"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_its_values_and_request(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    with logs.request("r1"):
        logs.logger("x").info("volume deleted", volume="v1", seconds=0.25)
    logs.logger("x").info("outside 100%")
    first, second = lines(stream)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "x",
        "event": "volume deleted",
        "request": "r1",
        "volume": "v1",
        "seconds": 0.25,
    }
    assert "request" not in second
    assert second["event"] == "outside 100%"


def test_text_for_people_shows_the_values_behind_the_event(stream: io.StringIO) -> None:
    logs.configure(format="text", stream=stream)
    logs.logger("x").warning("disk full", pool="/data dir", free=0, seconds=0.1234)
    assert stream.getvalue().endswith(' WARNING disk full  pool="/data dir" free=0 seconds=0.123\n')


CONTROLS = "\x1b]0;title\x07 \x1b[2J\r\x7f\x9b31m"


def test_text_escapes_what_would_control_a_terminal(stream: io.StringIO) -> None:
    """What an array answers ends up in a driver's messages and errors."""
    logs.configure(format="text", stream=stream)
    log = logs.logger("x")
    log.info(f"event {CONTROLS}", reason=CONTROLS, values={"a": CONTROLS})
    logging.getLogger("cinder.volume").warning("the array said %s", CONTROLS)
    try:
        raise ValueError(CONTROLS)
    except ValueError as error:
        logs.logger("x").exception("unexpected", error)
    logs.relay(f"\x1etext of a driver's process {CONTROLS}", log)
    logs.relay(f"print {CONTROLS}", log)
    written = stream.getvalue()
    assert not [character for character in written if not character.isprintable() and character != "\n"]
    assert "the array said \\u001b]0;title\\u0007 \\u001b[2J\\u000d\\u007f\\u009b31m" in written


def test_a_value_of_several_lines_stays_on_one_line_of_text(stream: io.StringIO) -> None:
    logs.configure(format="text", stream=stream)
    logs.logger("x").info("call", reason="one\n12:00:00.000\tINFO\tforged")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r'call  reason="one\n12:00:00.000\tINFO\tforged"')


def test_json_escapes_what_would_control_a_terminal(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    log = logs.logger("x")
    log.info("call", reason=CONTROLS)
    assert json.loads(stream.getvalue())["reason"] == CONTROLS
    logs.relay(f"\x1e{CONTROLS}", log)
    assert not [character for character in stream.getvalue() if not character.isprintable() and character != "\n"]


def test_what_other_libraries_log_is_redacted_too(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    with redact.hiding(["s3cr3t-of-this-call"]):
        logging.getLogger("cinder.volume.drivers.x").warning(
            "reply %s, %s", {"auth_password": CANARY}, "s3cr3t-of-this-call"
        )
    assert CANARY not in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()
    assert lines(stream)[0]["event"] == "reply {'auth_password': ***}, ***"


def test_values_and_tracebacks_are_redacted(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    try:
        raise ValueError(f"password={CANARY}")
    except ValueError as error:
        logs.logger("x").exception("failed", error, connection={"auth_password": CANARY})
    (line,) = lines(stream)
    assert CANARY not in stream.getvalue()
    assert "ValueError: password=***" in line["exception"]
    assert line["connection"] == {"auth_password": "***"}


def test_lines_below_the_level_are_left_out_and_chatty_libraries_kept_quiet(stream: io.StringIO) -> None:
    logs.configure(format="json", level="info", stream=stream)
    logs.logger("x").debug("detail")
    logging.getLogger("urllib3.connectionpool").info("starting connection")
    logging.getLogger("urllib3.connectionpool").warning("lost connection")
    assert [line["event"] for line in lines(stream)] == ["lost connection"]


def test_automatic_format_is_json_when_nobody_watches(stream: io.StringIO) -> None:
    logs.configure(format="auto", stream=stream)
    logs.logger("x").info("hello")
    assert lines(stream)[0]["event"] == "hello"


@pytest.mark.parametrize(("given", "key"), [({"level": "loud"}, "log.level"), ({"format": "xml"}, "log.format")])
def test_an_unknown_level_or_format_is_named(given: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        logs.configure(**given)  # type: ignore[arg-type]  # the stream is not among them
    assert caught.value.key == key


def test_logging_is_cheap_to_import() -> None:
    code = "import sys, csi_cinderlib.observe.logs; print(sorted({'structlog', 'asyncio', 'prometheus_client', 'grpc'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_line_that_never_ends_is_left_out_and_those_around_it_are_not() -> None:
    longest = "x" * (logs.LONGEST_LINE - 1)
    stream = io.StringIO(f"a\n{longest}\n{longest}y{longest}tr0ub4dor\n\nb\nc")
    first, second, third, *rest = logs.lines(stream)
    assert (first, second, rest) == ("a", longest, ["", "b", "c"])
    assert "line omitted" in third
    assert len(third) < 100


def test_a_handler_of_the_program_gets_the_values_in_the_message(caplog: pytest.LogCaptureFixture) -> None:
    logs.logger("csi_cinderlib.test").warning(
        "volume not deleted", volume="v1", reason="back end 'a' is busy", password="x"
    )
    (record,) = caplog.records
    assert record.getMessage() == "volume not deleted volume=v1 reason=\"back end 'a' is busy\" password=***"
