"""The suite that ships with the package, on every store that ships with it."""

from csi_cinderlib.persistence.contract.rules import *  # noqa: F403  # pytest collects what it finds here
