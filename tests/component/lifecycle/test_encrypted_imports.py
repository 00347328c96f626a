"""The encryption of imported volumes, and of their PersistentVolumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists, InvalidRequest
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Volume
from csi_cinderlib.provisioning.imported_objects import Name, Use, persistent_volume, require_key
from csi_cinderlib.provisioning.imports import Importing
from tests.support.existing_files import Add, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

KEY = Name(namespace="keys", name="volume-key")
USE = Use(driver="csi.cinderlib.io", key_secret=KEY)


def test_an_import_takes_the_encryption_into_the_record(importing: Importing, store: ObservedStore, add: Add) -> None:
    add("disk.img")
    volume = importing.volume(wanted(encryption="luks2"))
    assert store.get(Volume, volume.id).encryption == "luks2"
    assert store.get(Volume, volume.id).header == "", "another program may have written it"
    with pytest.raises(AlreadyExists, match="its encryption is luks2"):
        importing.volume(wanted())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"encryption": "luks1"}, "unsupported encryption 'luks1'"),
        (
            {"encryption": "luks2", "access_modes": (AccessMode.MULTI_NODE_MULTI_WRITER,), "block": True},
            "for an encrypted volume",
        ),
    ],
)
def test_an_encryption_that_cannot_be_used_is_refused(
    importing: Importing, store: ObservedStore, directory: Path, add: Add, what: dict[str, Any], message: str
) -> None:
    add("disk.img")
    with pytest.raises(InvalidRequest, match=message):
        importing.volume(wanted(**what))
    assert list(store.page(Volume).records) == []
    assert (directory / "disk.img").exists()


def test_a_persistent_volume_names_the_encryption_and_the_secret(importing: Importing, add: Add) -> None:
    add("disk.img")
    csi = persistent_volume(importing.volume(wanted(encryption="luks2")), USE)["spec"]["csi"]
    assert csi["volumeAttributes"]["encryption"] == "luks2"
    assert csi["nodeStageSecretRef"] == {"namespace": "keys", "name": "volume-key"}
    add("other.img")
    plain = persistent_volume(importing.volume(wanted("other.img")), Use(driver="csi.cinderlib.io"))["spec"]["csi"]
    assert "nodeStageSecretRef" not in plain
    assert "encryption" not in plain["volumeAttributes"]


def test_the_secret_is_given_for_an_encrypted_volume_only() -> None:
    require_key("luks2", KEY, "--key-secret")
    require_key("", None, "--key-secret")
    with pytest.raises(InvalidRequest, match="--key-secret: must name the Secret with the key"):
        require_key("luks2", None, "--key-secret")
    with pytest.raises(InvalidRequest, match="--key-secret: must not be given for a volume in plain"):
        require_key("", KEY, "--key-secret")


def test_an_imported_snapshot_has_the_encryption_of_its_volume(
    importing: Importing, files: LocalBackend, add: Add
) -> None:
    """Programs that do not know it then refuse to copy it."""
    volume = files.create_volume(replace(makers.volume("files"), encryption="luks2"))
    add("snapshot-monday")
    assert importing.snapshot(origin("snapshot-monday"), volume.id).encryption == "luks2"
