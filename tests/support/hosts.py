"""A directory that looks like a host to `doctor`, and programs that it would run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from csi_cinderlib.commands.examination.host import Host, View

RELEASE = "6.1.0-28-amd64"


def put(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def host(tmp_path: Path, files: Mapping[str, str] | None = None, *, view: View = View.DIRECT) -> Host:
    """A Debian whose kernel has ext4, loads modules and has none on the disk, with these files besides."""
    basic = {
        "proc/filesystems": "nodev\tproc\n\text4\n",
        "proc/version": "Linux",
        "proc/modules": "",
        "proc/sys/kernel/osrelease": f"{RELEASE}\n",
    }
    root = put(tmp_path, {**basic, **(files or {})})
    return Host(root, None if view is View.HIDDEN else root, view)


def programs(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Put them first in PATH."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    if str(folder) not in os.environ["PATH"].split(":"):
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
