"""Encrypted volumes in files on loop devices, for tests in a guest, whose kernel has dm-crypt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from csi_cinderlib.host import luks, mounts
from csi_cinderlib.model.encryption import header_of
from tests.component.host.formats import slot_of
from tests.component.node.bed import SIZE, Node, Volume
from tests.guest.inside.shell import run

KEY, OTHER = "the key of this volume", "the key that comes after it"
ROOT = Path(__file__).resolve().parents[3]


def encrypted(node: Node, name: str = "vol", key: str = KEY, *, previous: str = "", **what: object) -> Volume:
    """A volume as the controller describes one that was created encrypted."""
    secrets = {"passphrase": key, **({"previousPassphrase": previous} if previous else {})}
    return node.volume(name, SIZE, encryption="luks2", header=header_of("vol"), secrets=secrets, **what)


def opens(volume: Volume, key: str) -> bool:
    return slot_of(str(volume.file), key.encode()) is not None


def mappings() -> list[str]:
    """The open mappings of encrypted volumes."""
    lines = run("dmsetup", "ls", "--target", "crypt").splitlines()
    return sorted(line.split()[0] for line in lines if "No devices" not in line)


def power_off() -> None:
    """Without a shutdown, mounts, mappings and loop devices are gone; the records and the files stay."""
    for name in mappings():
        for here in mounts.by_device(luks.path_of(name)):
            mounts.unmount(here.target)
        luks.close(name)
    for device in run("losetup", "--list", "--noheadings", "--output=NAME").split():
        run("losetup", "--detach", device)


def killed_at(fault: str, node: Node, step: str, kind: str, volume: Volume) -> bool:
    """Whether the process of one step was killed there. Without a kill the step has succeeded."""
    spec = {
        "kind": kind,
        "encryption": volume.encryption,
        "header": volume.header,
        "secrets": dict(volume.secrets),
        "formatting": volume.formatting,
    }
    argv = [sys.executable, "-m", "tests.component.node.bed", str(node.base), step, json.dumps(spec)]
    code = subprocess.run(argv, env={**os.environ, "CINDERLIB_FAULT_POINT": fault}, check=False, cwd=ROOT).returncode
    assert code in (0, -signal.SIGKILL)
    return code != 0
