"""How the demo tells what it does."""

from __future__ import annotations

import io
import json

import grpc
import pytest

from csi_cinderlib.demo.report import Json, Plain, Report, Rich, View, view, words


class Refused(grpc.RpcError):
    """As gRPC's own errors are: code and details are methods."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.ABORTED

    def details(self) -> str:
        return "busy"


def play(shown: View) -> Report:
    """A story with a good step and a bad one."""
    report = Report(shown)
    report.section("The driver")
    with report.step("start it") as step:
        step.note = "ready"
    with pytest.raises(Refused), report.step("break it"):
        raise Refused
    report.end("failed")
    return report


def test_plain_lines_name_the_time_and_what_came_of_it() -> None:
    stream = io.StringIO()
    play(Plain(stream))
    text = stream.getvalue()
    assert "The driver\n" in text
    assert "ok" in text and "start it" in text and "ready" in text
    assert "FAILED" in text and "ABORTED: busy" in text
    assert text.rstrip().endswith(": failed")
    assert "\x1b" not in text


def test_json_is_one_object_a_line_and_a_verdict() -> None:
    stream = io.StringIO()
    play(Json(stream))
    good, bad, verdict = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (good["section"], good["step"], good["note"], good["ok"]) == ("The driver", "start it", "ready", True)
    assert (bad["note"], bad["ok"]) == ("ABORTED: busy", False)
    assert verdict == {"result": "failed", "ok": False, "steps": 2, "seconds": verdict["seconds"]}


def test_a_terminal_gets_marks_and_brackets_are_not_taken_for_colours(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(Rich())
    with report.step("start [bold]it") as step:
        step.note = "[red]x"
    report.end("done")
    text = capsys.readouterr().out
    assert "✔" in text and "start [bold]it" in text and "[red]x" in text


def test_a_step_that_is_interrupted_says_so() -> None:
    report = Report(Plain(io.StringIO()))
    with pytest.raises(KeyboardInterrupt), report.step("wait"):
        raise KeyboardInterrupt
    assert (report.steps[0].ok, report.steps[0].note) == (False, "stopped")


def test_without_a_terminal_there_are_plain_lines() -> None:
    assert isinstance(view(as_json=False, stream=io.StringIO()), Plain)
    assert isinstance(view(as_json=True, stream=io.StringIO()), Json)


def test_other_errors_keep_their_words() -> None:
    assert words(OSError("no such thing")) == "no such thing"
