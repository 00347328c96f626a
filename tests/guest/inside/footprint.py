"""What storage leaves on a host, to be compared before and after."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from tests.guest.inside import iscsi, lvm
from tests.guest.inside.shell import run, settle

_OF_THE_BED = tuple(f"{group.replace('-', '--')}-" for group in (lvm.GROUP, lvm.THIN, lvm.THICK))
"""Logical volumes belong to the back end that the bed plays."""


def _maps() -> list[str]:
    return [line.split()[0] for line in run("dmsetup", "ls").splitlines() if "No devices" not in line]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Each field is a set of names; `left_since` names what is there now and was not before."""

    sessions: frozenset[str]
    nodes: frozenset[str]
    disks: frozenset[str]
    maps: frozenset[str]
    loops: frozenset[str]
    mounts: frozenset[str]

    @classmethod
    def now(cls) -> Footprint:
        settle()
        mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
        loops = run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines()
        return cls(
            sessions=frozenset(iscsi.sessions()),
            nodes=frozenset(iscsi.nodes()),
            disks=frozenset(iscsi.disks()),
            maps=frozenset(name for name in _maps() if not name.startswith(_OF_THE_BED)),
            loops=frozenset(" ".join(line.split()) for line in loops),
            mounts=frozenset(f"{words[4]} {words[words.index('-') + 2]}" for words in mounts),
        )

    def left_since(self, before: Footprint) -> dict[str, list[str]]:
        found = {item.name: sorted(getattr(self, item.name) - getattr(before, item.name)) for item in fields(self)}
        return {name: left for name, left in found.items() if left}
