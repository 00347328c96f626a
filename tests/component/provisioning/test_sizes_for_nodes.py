"""The size that a node waits for before it uses a device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.model.records import Imported, Source, SourceKind, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.provisioning.attachments import least_size
from tests.support.fakes import makers

IMPORTED = replace(makers.volume("a"), imported=Imported(name="lun1"))
ADOPTED = makers.volume("a")
"""Cinder may have taken it over in its turn. A node that has got access has ended its adoption."""
COPY = replace(makers.volume("a"), source=Source(SourceKind.SNAPSHOT, "id"))


def test_a_created_volume_has_its_size() -> None:
    assert least_size(replace(makers.volume("a"), size=GiB(3), began_empty=True)) == 3 * BYTES_PER_GIB


@pytest.mark.parametrize("volume", [IMPORTED, ADOPTED, COPY], ids=["imported", "adopted", "copy"])
def test_a_volume_of_another_program_and_copies_of_it_may_be_rounded_up_but_show_each_expansion(volume: Volume) -> None:
    assert least_size(replace(volume, size=GiB(1))) == 1
    before = 2 * BYTES_PER_GIB  # at most
    assert before < least_size(replace(volume, size=GiB(3))) <= 3 * BYTES_PER_GIB
