"""`get_connector_properties` for a program that is not root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib.properties import reader


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file that only root may read, seen by another user."""
    file = tmp_path / "initiatorname.iscsi"
    file.write_text("InitiatorName=iqn.x\n")
    file.chmod(0o600)
    opened = [folder for folder in (tmp_path, *tmp_path.parents) if not folder.stat().st_mode & stat.S_IXOTH]
    for folder in opened:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    os.setegid(65534)
    os.seteuid(65534)
    yield file
    os.seteuid(0)
    os.setegid(0)
    for folder in opened:
        folder.chmod(folder.stat().st_mode & ~stat.S_IXOTH)


@pytest.mark.root
def test_a_file_of_root_is_read_with_the_root_helper(secret: Path) -> None:
    calls: list[Any] = []

    def execute(*command: str, **options: Any) -> tuple[str, str]:
        calls.append((command, options))
        return "InitiatorName=iqn.x\n", ""

    assert reader("sudo", execute)(secret) == "InitiatorName=iqn.x"
    assert calls == [(("cat", str(secret)), {"run_as_root": True, "root_helper": "sudo"})]
    assert reader("", execute)(secret) == ""
    assert reader("sudo", execute)(secret.with_name("absent")) == ""
    assert len(calls) == 1


@pytest.mark.root
def test_a_root_helper_that_refuses_leaves_the_property_out(secret: Path) -> None:
    def execute(*_command: str, **_options: Any) -> tuple[str, str]:
        raise OSError("a password is required")

    assert reader("sudo", execute)(secret) == ""


def test_a_readable_file_needs_no_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text\n")

    def execute(*_command: str, **_options: Any) -> tuple[str, str]:
        raise AssertionError("no command is needed")

    assert reader("sudo", execute)(tmp_path / "file") == "text"
