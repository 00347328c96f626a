"""What the images carry, and what they do not."""

from __future__ import annotations

import pytest

from tests.cluster.bed import images
from tests.cluster.bed.installation import Installation

pytestmark = pytest.mark.cluster

MB = 10**6
BUDGETS = {"node": 150 * MB, "controller": 350 * MB}
"""Above the base image."""


@pytest.mark.parametrize("role", BUDGETS)
def test_an_image_keeps_its_budget(installation: Installation, role: str) -> None:
    assert images.size(images.OWN[role]) - images.size(images.BASE) <= BUDGETS[role]


def test_a_controller_is_built_with_what_a_driver_needs(installation: Installation) -> None:
    """From PyPI and from Debian; what is locked stays as it is, and the plain image has none of it."""
    program = "import cinder.volume.drivers.linstordrv, linstor, rados, rbd, grpc; print(grpc.__version__)"
    wanted = {"DRIVER_LIBRARIES": "python-linstor", "DRIVER_PACKAGES": "python3-rados python3-rbd"}
    extended = images.built(f"{images.OWN['controller']}-with-libraries", "controller", **wanted)
    assert images.ran(extended, "python", "-c", program) == images.ran(
        images.OWN["controller"], "python", "-c", "import grpc; print(grpc.__version__)"
    )
    with pytest.raises(images.CannotBuildImage, match="linstor"):
        images.ran(images.OWN["controller"], "python", "-c", "import linstor")
