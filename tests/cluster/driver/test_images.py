"""What the images carry, and what they do not."""

from __future__ import annotations

import pytest

from csi_cinderlib.host import filesystems
from tests.cluster.bed import images
from tests.cluster.bed.installation import Installation

pytestmark = pytest.mark.cluster

MB = 10**6
BUDGETS = {"node": 150 * MB, "controller": 350 * MB}
"""Above the base image."""


@pytest.mark.parametrize("role", BUDGETS)
def test_an_image_keeps_its_budget(installation: Installation, role: str) -> None:
    assert images.size(images.OWN[role]) - images.size(images.BASE) <= BUDGETS[role]


@pytest.mark.parametrize("role", BUDGETS)
def test_an_image_has_bytecode_and_nothing_that_builds_or_installs(installation: Installation, role: str) -> None:
    tag = images.OWN[role]
    program = (
        "import csi_cinderlib.cli as ours, os_brick.initiator as theirs; print(ours.__cached__, theirs.__cached__)"
    )
    for cached in images.ran(tag, "python", "-c", program).split():
        assert images.ran(tag, "ls", cached).strip() == cached
    assert images.ran(tag, "sh", "-c", "command -v gcc cc make pip pip3 || echo none").strip() == "none"
    assert absent(tag, "/opt/csi-cinderlib/bin/python", "pip", "setuptools") == ["pip", "setuptools"]
    assert absent(tag, "/usr/bin/python3", "pip", "setuptools") == ["pip", "setuptools"]


@pytest.mark.parametrize("tag", [*images.OWN.values(), images.EXTENDED])
def test_an_image_has_no_package_files_and_lists(installation: Installation, tag: str) -> None:
    kept = "/var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/*_*"
    assert images.ran(tag, "sh", "-c", f"ls {kept} 2>/dev/null || true") == ""


def test_the_node_has_neither_cinder_nor_a_store(installation: Installation) -> None:
    unwanted = ["cinder", "sqlalchemy", "psycopg", "pymysql", "kubernetes"]
    assert absent(images.OWN["node"], "python", *unwanted) == unwanted
    assert absent(images.OWN["controller"], "python", "cinder", "sqlalchemy", "psycopg", "pymysql") == []


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
def test_both_images_have_the_same_mkfs(installation: Installation, fs_type: str) -> None:
    """What the controller tries the options of a StorageClass with is what the node will run."""
    versions = {images.ran(tag, "sh", "-c", f"mkfs.{fs_type} -V 2>&1") for tag in images.OWN.values()}
    assert len(versions) == 1
    assert any(character.isdigit() for character in versions.pop())


def absent(tag: str, python: str, *modules: str) -> list[str]:
    """Those that this Python of the image does not find."""
    program = "import sys, importlib.util as u; print(*(name for name in sys.argv[1:] if not u.find_spec(name)))"
    return images.ran(tag, python, "-c", program, *modules).split()


def test_a_controller_is_built_with_what_a_driver_needs(installation: Installation) -> None:
    """From PyPI and from Debian; what is locked stays as it is, and the plain image has none of it."""
    program = "import cinder.volume.drivers.linstordrv, linstor, rados, rbd, grpc; print(grpc.__version__)"
    assert images.ran(images.EXTENDED, "python", "-c", program) == images.ran(
        images.OWN["controller"], "python", "-c", "import grpc; print(grpc.__version__)"
    )
    with pytest.raises(images.CannotBuildImage, match="linstor"):
        images.ran(images.OWN["controller"], "python", "-c", "import linstor")
