"""One class of tests per group of rules. Importing them into a test module runs them there, on its `persistence_harness`."""

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
