"""Inside a guest: a pytest plugin that hands each test's report out to the host as it comes, one JSON line each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

VARIABLE = "CINDERLIB_GUEST_REPORTS"
"""Set by the host for the pytest in a guest, and nowhere else: the file for the reports."""


def inside_guest() -> bool:
    return VARIABLE in os.environ


class Reporter:
    """Writes {"started": id}, {"report": ...} and {"broken": text} lines."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._file = path.open("a", buffering=1)

    def _write(self, kind: str, content: object) -> None:
        self._file.write(json.dumps({kind: content}) + "\n")
        self._file.flush()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write("started", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._write("report", self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write("broken", f"{report.nodeid} cannot be collected in the guest:\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config, Path(os.environ[VARIABLE])), "guest-reporter")
