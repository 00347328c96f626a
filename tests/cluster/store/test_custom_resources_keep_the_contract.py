"""The suite that ships with the package, on custom resources."""

import pytest

from csi_cinderlib.persistence.contract.rules import *  # noqa: F403  # pytest collects what it finds here

pytestmark = pytest.mark.cluster
