"""The guests that tests run in: one boot each."""

from __future__ import annotations

from tests.guest.bed.fleet import Machine

MACHINES = {
    "bed": Machine(timeout=60),
    "iscsi": Machine(disks=("12G",), memory="1500M", timeout=400),
    "files": Machine(disks=("6G",), memory="2500M", timeout=400),
}
