"""Snapshots that outlive their volume, on custom resources."""

import pytest

from tests.component.persistence.contract.test_deleted_sources import *  # noqa: F403  # pytest collects what it finds here

pytestmark = pytest.mark.cluster
