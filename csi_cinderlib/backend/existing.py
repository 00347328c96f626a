"""The verbs for existing objects (`verbs.Existing`) of a driver that runs in its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from csi_cinderlib.backend.verbs import Columns, Manageable, Measured, Whereabouts
from csi_cinderlib.model.records import Snapshot, Volume

VERBS = ("list_manageable", "measure_existing", "measure_own", "manage_existing", "locate", "unmanage")
"""Methods of `verbs.Existing`, which the driver's process serves unchanged."""


class RemoteExisting:
    """See `verbs.Existing`.

    Args:
        call: calls a verb in the driver's process; its first argument is the type of the answer.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def list_manageable(self, *, snapshots: bool = False) -> Sequence[Manageable]:
        listed: Sequence[Manageable] = self._call(tuple, "list_manageable", snapshots=snapshots)
        return listed

    def measure_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Measured:
        measured: Measured = self._call(Measured, "measure_existing", record, reference)
        return measured

    def measure_own(self, record: Volume | Snapshot) -> Measured:
        measured: Measured = self._call(Measured, "measure_own", record)
        return measured

    def locate(self, record: Volume | Snapshot) -> Whereabouts:
        located: Whereabouts = self._call(Whereabouts, "locate", record)
        return located

    def manage_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Columns:
        columns: Columns = self._call(dict, "manage_existing", record, reference)
        return columns

    def unmanage(self, record: Volume | Snapshot, *, may_be_done: bool = False) -> str:
        return str(self._call(str, "unmanage", record, may_be_done=may_be_done))
