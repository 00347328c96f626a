"""Databases of Cinder for the tests of one session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.component.adoption.openstack.databases import STOPPED, Run, change, copied, make


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that the installed Cinder has made and filled."""
    file = tmp_path_factory.mktemp("cinder") / "cinder.db"
    make(f"sqlite:///{file}")
    change(file, STOPPED)
    return file


@pytest.fixture
def source(template: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return copied(template, tmp_path / "old")


@pytest.fixture
def run(source: Path, tmp_path: Path) -> Run:
    return Run(source, tmp_path)
