"""What the modules share that run the back-end contract in a guest: beds, and what each wants to be set up first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime, served
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from tests.guest.inside import ceph
from tests.guest.inside.backends import OPTIONS
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.shell import modprobe
from tests.support.fakes.beds import Bed, Place

NEEDS = {
    "lvm-thin": ("thin_group", "initiator", "lio_target"),
    "lvm-thick": ("thick_group", "initiator", "lio_target"),
    "nfs": ("nfs_share",),
    "rbd": ("ceph",),
}
"""Fixtures by back end."""


def bed_of(name: str) -> Bed:
    driver, options = OPTIONS[name]
    return Bed(name=name, driver=driver, options=options, data="file" if name == "loopfile" else "brick")


def set_up(name: str, request: pytest.FixtureRequest) -> None:
    """The storage of that back end."""
    if name == "loopfile":
        modprobe("loop")
    if name == "rbd":
        ceph.python_bindings(Path("/run/ceph-python"))
    for fixture in NEEDS.get(name, ()):
        request.getfixturevalue(fixture)


def place_of(bed: Bed, tmp_path: Path, runtime: Runtime, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A started back end. What the test leaves on the node is an error; what it leaves on the back end is removed."""
    set_up(bed.name, request)
    served().refused.clear()
    place = Place(bed, tmp_path, runtime)
    before = Footprint.now()
    yield place
    left = Footprint.now().left_since(before)
    _clean_up(place)
    place.close()
    assert left == {}
    assert not served().refused


def _clean_up(place: Place) -> None:
    for attachment in place.store.page(Attachment, limit=1000).records:
        place.backend.disconnect(attachment)
    for snapshot in place.store.page(Snapshot, limit=1000).records:
        place.backend.delete_snapshot(snapshot)
    for volume in place.store.page(Volume, limit=1000).records:
        place.backend.delete_volume(volume)
