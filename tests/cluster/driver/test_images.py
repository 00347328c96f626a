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
