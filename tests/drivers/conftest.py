"""Prints the table of all drivers at the end of a run that made it."""

from __future__ import annotations

import pytest

TABLE = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if table := config.stash.get(TABLE, []):
        terminalreporter.section(f"{len(table)} drivers, set up with the options of their examples")
        for line in table:
            terminalreporter.line(line)
