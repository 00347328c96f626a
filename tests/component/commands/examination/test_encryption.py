"""Whether a node can open encrypted volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import encryption
from csi_cinderlib.commands.examination.findings import Level
from tests.support.hosts import host, programs


def test_a_kernel_with_dm_crypt_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path / "bin", cryptsetup="exit 0")
    (found,) = encryption.examine(host(tmp_path, {"sys/module/dm_crypt/refcnt": "0"}))
    assert (found.level, found.what, found.detail) == (Level.OK, "encryption", "dm_crypt is in the running kernel")


def test_a_kernel_without_dm_crypt_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path / "bin", cryptsetup="exit 0")
    (found,) = encryption.examine(host(tmp_path, {}))
    assert found.level is Level.NOTE
    assert "dm_crypt is not loaded" in found.detail


def test_a_missing_cryptsetup_is_noted_with_its_package(tmp_path: Path) -> None:
    (found,) = encryption.examine(host(tmp_path, {"sys/module/dm_crypt/refcnt": "0"}), which=lambda _tool: None)
    assert found.level is Level.NOTE
    assert "install cryptsetup-bin, or do not use encryption" in found.advice
