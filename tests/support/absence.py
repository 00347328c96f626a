"""Tests whose programs this machine cannot have: they are skipped, counted, and named in the closing lines of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tools.lookup import Missing

ASKED_FOR = os.environ.get("CINDERLIB_CLUSTER_TEST") == "1"
"""`make cluster-test`: whoever asks for Kubernetes is told when there is none."""


def skip(problem: Exception) -> NoReturn:
    """Leave this test out, as `make test` does on a machine without Go; but fail where Kubernetes was asked for."""
    if ASKED_FOR:
        pytest.fail(str(problem), pytrace=False)
    pytest.skip(str(problem))


@contextmanager
def skipping() -> Iterator[None]:
    """Around a test, or its set-up: skip it when it looks for a tool that this machine cannot have."""
    try:
        yield
    except Missing as problem:
        skip(problem)


def closing_lines(reports: Iterable[pytest.TestReport]) -> list[str]:
    """How many tests were not run, for each reason, the most frequent first; scripts/run-tests adds them up."""
    reasons = Counter(_reason(report) for report in reports)
    return [f"not run: {number} test{'s' * (number > 1)}: {reason}" for reason, number in reasons.most_common()]


def _reason(report: pytest.TestReport) -> str:
    """On one line."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split())
