"""The guests that tests run in: one boot each."""

from __future__ import annotations

from tests.guest.bed.fleet import Machine

MACHINES = {
    "bed": Machine(timeout=60),
    "iscsi": Machine(disks=("12G",), memory="1500M", timeout=400),
    "crash": Machine(disks=("4G",), timeout=400),
    "sanity": Machine(disks=("40G",), memory="1500M", timeout=900),
    "contract-lvm": Machine(disks=("40G", "40G"), memory="1500M", timeout=600),
    "contract-files": Machine(memory="3G", timeout=600),
    "files": Machine(disks=("6G",), memory="2500M", timeout=400),
}
