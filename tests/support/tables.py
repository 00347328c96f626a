"""Tables that tests want printed at the end of a run, by title; also those of the workers of a run in parallel."""

from __future__ import annotations

import pytest

TABLES = pytest.StashKey[dict[str, list[str]]]()


def add(config: pytest.Config, title: str, lines: list[str]) -> None:
    config.stash.setdefault(TABLES, {})[title] = lines


def append(config: pytest.Config, title: str, line: str) -> None:
    """Add a line to a table of this process."""
    config.stash.setdefault(TABLES, {}).setdefault(title, []).append(line)
