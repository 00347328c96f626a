"""One test class per group of rules. A test module that imports them runs them with its `persistence_harness`."""

from csi_cinderlib.persistence.contract.rules.belonging import TestBelonging
from csi_cinderlib.persistence.contract.rules.conflicts import TestConflicts
from csi_cinderlib.persistence.contract.rules.corruption import TestCorruption
from csi_cinderlib.persistence.contract.rules.crashes import TestCrashes
from csi_cinderlib.persistence.contract.rules.processes import TestProcesses
from csi_cinderlib.persistence.contract.rules.records import TestRecords
from csi_cinderlib.persistence.contract.rules.secrets import TestSecrets
from csi_cinderlib.persistence.contract.rules.walks import TestWalks

__all__ = [
    "TestBelonging",
    "TestConflicts",
    "TestCorruption",
    "TestCrashes",
    "TestProcesses",
    "TestRecords",
    "TestSecrets",
    "TestWalks",
]
