"""What the command prints for each kind of input and output."""

from __future__ import annotations

import re

import pytest

from tests.component.conversion import session

CANARY = re.compile(r"canary|12:30:45|007|012345")


@pytest.mark.parametrize("name", session.COMMANDS)
def test_the_session_is_as_recorded(name: str) -> None:
    recorded = (session.FOLDER / f"{name}.txt").read_text()
    assert session.run(session.COMMANDS[name]) == recorded, (
        "python -m tests.component.conversion.session writes it anew"
    )


@pytest.mark.parametrize("name", session.COMMANDS)
def test_no_value_is_in_the_report(name: str) -> None:
    _, _, report = session.run(session.COMMANDS[name]).partition("--- standard error\n")
    assert not CANARY.search(report.replace("client.007", ""))


def test_every_session_is_run() -> None:
    assert {path.stem for path in session.FOLDER.glob("*.txt")} == set(session.COMMANDS)
