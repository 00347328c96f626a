"""Log lines: events with values, one format, and the same redaction for every library."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import pickle
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
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


def test_a_handler_of_the_program_gets_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    logs.logger("csi_cinderlib.test").warning("call", reason=CONTROLS)
    assert caplog.records[0].getMessage().isprintable()


def test_a_record_has_the_place_of_the_log_call(caplog: pytest.LogCaptureFixture) -> None:
    logs.logger("csi_cinderlib.test").warning("call")
    logs.logger("csi_cinderlib.test").exception("call", ValueError())
    assert {record.filename for record in caplog.records} == {Path(__file__).name}


def test_a_handler_in_another_thread_gets_a_redacted_record() -> None:
    """A `QueueHandler` passes records on; the secrets of the call are known only to its own thread."""
    source, passed = logging.getLogger("csi_cinderlib.queued"), queue.Queue[logging.LogRecord]()
    handler = logging.handlers.QueueHandler(passed)
    source.addHandler(handler)
    try:
        with redact.hiding([CANARY]):
            logs.logger(source.name).error("failed", reason=f"reply {CANARY}", options={"a": [{"password": "x"}]})
    finally:
        source.removeHandler(handler)
    record = pickle.loads(pickle.dumps(passed.get_nowait()))
    assert record.values == {"reason": "reply ***", "options": {"a": [{"password": "***"}]}}
    assert CANARY not in str(vars(record))


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError(CANARY)


def recursive() -> list[object]:
    values: list[object] = []
    values.append({"a": values})
    return values


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Unprintable(), "(Unprintable not shown: LookupError)"),
        (recursive(), "(list not shown: RecursionError)"),
        (10**5000, "(int not shown: ValueError)"),
    ],
    ids=["unprintable", "recursive", "huge"],
)
def test_a_value_that_cannot_be_shown_does_not_end_the_work(
    stream: io.StringIO, capfd: pytest.CaptureFixture[str], format: str, value: object, shown: str
) -> None:
    logs.configure(format=format, stream=stream)
    logs.logger("x").info("call", volume="v1", value=value)
    assert shown in stream.getvalue()
    assert "v1" in stream.getvalue()
    assert capfd.readouterr().err == ""


def test_a_value_may_have_the_name_of_a_parameter(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    logs.logger("x").exception("call", ValueError(), error="e", self="s")
    assert lines(stream)[0] | {"error": "e", "self": "s"} == lines(stream)[0]


@pytest.mark.parametrize("argument", [CANARY, Unprintable()], ids=["too few", "unprintable"])
def test_arguments_that_do_not_fit_the_message_of_a_library_are_not_shown(
    stream: io.StringIO, capfd: pytest.CaptureFixture[str], argument: object
) -> None:
    """`logging` itself would write them to standard error without redaction."""
    logs.configure(format="json", stream=stream)
    logging.getLogger("cinder.volume").warning("login %s %s", argument)  # noqa: PLE1206  # the fault
    assert lines(stream)[0]["event"].startswith("login %s %s (arguments not shown: ")
    assert CANARY not in stream.getvalue() + capfd.readouterr().err


def test_a_record_of_a_library_may_have_attributes_of_the_same_names(stream: io.StringIO) -> None:
    logs.configure(format="json", stream=stream)
    logging.getLogger("other").warning("hello", extra={"event": CANARY, "values": [CANARY]})
    assert lines(stream)[0]["event"] == "hello"


def test_a_disabled_event_computes_nothing(stream: io.StringIO) -> None:
    logs.configure(format="json", level="info", stream=stream)
    shown: list[str] = []

    class Value:
        def __str__(self) -> str:
            shown.append("value")
            return ""

    logs.logger("x").debug("detail", value=Value())
    assert shown == []
