"""The contract suite for the plugin of `--persistence-plugin`."""

from csi_cinderlib.persistence.contract.rules import *  # noqa: F403  # pytest collects the tests from this module
