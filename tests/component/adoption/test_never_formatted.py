"""No node formats an adopted volume, whichever program has created it: it is not proven that it began empty."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.adoption import database, ember, resources, tables
from csi_cinderlib.adoption.openstack import planning, source
from csi_cinderlib.adoption.openstack.places import Places
from csi_cinderlib.adoption.openstack.selection import Selection
from csi_cinderlib.model.capability import AccessMode, Capability, Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.provisioning import fencing
from tests.component.adoption.databases import RECORDED, sqlite_file
from tests.component.adoption.openstack.databases import restore


def of_cinder(directory: Path) -> list[Volume]:
    found = source.read(f"sqlite:///{restore(directory / 'cinder.db', 'train-sqlite')}")
    judged = planning.judged(found, Selection(), Places({}, None))
    return [item.adopted.volume for item in judged if item.adopted]


def of_cinderlib(directory: Path) -> list[Volume]:
    rows, _ = tables.read(f"sqlite:///{sqlite_file(directory)}")
    return list(database.content(rows).volumes.values())


def of_ember(directory: Path) -> list[Volume]:
    assert directory
    items = ember.from_files([("ember.json", (RECORDED / "ember-3.1.0.json").read_text())])
    return list(resources.content(items).volumes.values())


@pytest.mark.xfail(
    "began_empty" not in {field.name for field in dataclasses.fields(Volume)},
    reason="records have no proof yet that a volume began empty",
    strict=True,
)
@pytest.mark.parametrize("adopted", [of_cinder, of_cinderlib, of_ember])
def test_a_node_never_formats_an_adopted_volume(adopted: Callable[[Path], list[Volume]], tmp_path: Path) -> None:
    capability = Capability(Mount("ext4"), AccessMode.SINGLE_NODE_WRITER)
    volumes = [volume for volume in adopted(tmp_path) if volume.source is None and not volume.raw]
    assert volumes
    for volume in volumes:
        attachment = Attachment(
            id="a", volume_id=volume.id, backend=volume.backend, node_id="n", access_mode=AccessMode.SINGLE_NODE_WRITER,
            status=Status.AVAILABLE,
        )  # fmt: skip
        attached = replace(volume, mark_void=True)
        request = PublishVolume(volume_id=volume.id, node_id="n", capability=capability)
        assert fencing.formatting(attached, attachment, request) is Formatting.FORBIDDEN
