"""cinderlib's unit suite: its tests of the public API pass; those of its internals are listed in unit.toml with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.component.cinderlib.suites import launch
from tests.component.cinderlib.suites.run import UNIT
from tests.support import tables
from tools import lookup

PREFIX = "cinderlib.tests.unit."


def test_the_unit_suite_passes_except_for_tests_of_internals(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    expected = failures()
    verdict = launch.run(modules(), tmp_path, storage=UNIT)
    said = {test.removeprefix(PREFIX): text for test, text in verdict.failed.items()}
    tables.append(
        request.config, "cinderlib's unit suite", f"cinderlib's unit suite: {verdict.closing_line}, as expected:"
    )
    for reason in dict.fromkeys(expected.values()):
        number = sum(value == reason for value in expected.values())
        tables.append(request.config, "cinderlib's unit suite", f"  {number:3} {reason}")
    unexpected = [f"{test}: {text.strip().splitlines()[-1]}" for test, text in said.items() if test not in expected]
    assert unexpected == []
    assert sorted(set(expected) - set(said)) == [], "these pass now: remove them from unit.toml"


def modules() -> list[str]:
    source = lookup.folder("cinderlib")
    paths = sorted((source / "cinderlib/tests/unit").rglob("test_*.py"))
    return [".".join(path.relative_to(source).with_suffix("").parts) for path in paths]


def failures() -> Mapping[str, str]:
    """Test to the reason for which it fails."""
    entries = tomllib.loads(Path(__file__).with_name("unit.toml").read_text())["differences"]
    return {test: entry["reason"] for entry in entries for test in entry["tests"]}
