"""The suite on the plugin that `--persistence-plugin` names."""

from csi_cinderlib.persistence.contract.rules import *  # noqa: F403  # pytest collects what it finds here
