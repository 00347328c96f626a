"""The guests that tests run in: one boot each."""

from __future__ import annotations

from tests.guest.bed.fleet import Machine

MACHINES = {
    "cycles": Machine(disks=("4G",), timeout=2400, sleeps=True),
    "sanity": Machine(disks=("40G",), memory="1500M", timeout=2700),
    "contract-thin": Machine(disks=("40G",), memory="1500M", timeout=1800),
    "contract-thick": Machine(disks=("40G",), memory="1500M", timeout=1800),
    "contract-files": Machine(memory="3G", timeout=1500),
    "iscsi": Machine(disks=("12G",), memory="1500M", timeout=1800),
    "hangs": Machine(disks=("4G",), memory="1500M", timeout=1200),
    "luks": Machine(disks=("4G",), memory="1500M", timeout=1800),
    "luks-service": Machine(disks=("12G",), memory="2500M", timeout=1200),
    "crash": Machine(disks=("4G",), timeout=1500),
    "files": Machine(disks=("6G",), memory="2500M", timeout=1200),
    "bed": Machine(timeout=600),
}
"""The longest ones first: the last guest to run should be a short one. The limits hold also on a machine that is busy with other
things; a test that hangs is ended long before, by the suite's own limit."""
