"""What to do about programs that this machine cannot build."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

ASKED_FOR = os.environ.get("CINDERLIB_CLUSTER_TEST") == "1"
"""`make cluster-test`: whoever asks for Kubernetes is told when there is none."""


def skip(problem: Exception) -> NoReturn:
    """Leave this test out, as `make test` does on a machine without Go; but fail where Kubernetes was asked for."""
    if ASKED_FOR:
        pytest.fail(str(problem), pytrace=False)
    pytest.skip(str(problem))
