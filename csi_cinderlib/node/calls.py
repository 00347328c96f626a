"""Runs the work of calls on volumes, so that a hanging share or device cannot use up the server's threads or block other volumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import NoAnswer, OperationPending
from csi_cinderlib.host import kernel
from csi_cinderlib.host.patience import Patience
from csi_cinderlib.node import health
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.node.stage_records import StageRecords

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The share or device that a volume depends on. Volumes may have a common source.

    Attributes:
        name: the directory of the volume's file, possibly on a share; or the volume's device.
        file: the volume's file, or "".
    """

    name: str
    file: str = ""


def source_of(volume_id: str, record: StageRecord | None, file: str = "") -> Source:
    """Pure.

    Args:
        record: the volume's record on this node, if there is one.
        file: the present or future file of a volume without a device.
    """
    device = record.device if record else None
    if file := (device.file if device else file):
        return Source(os.path.dirname(file), file)  # noqa: PTH120 - on the path of each call
    return Source(f"{device.path} ({device.wwid})" if device else f"volume {volume_id}")


class Calls:
    """Runs calls for volumes within the thread limits of their sources. Thread-safe."""

    def __init__(self, records: StageRecords, patience: Patience | None = None) -> None:
        self._records = records
        self._patience = patience or Patience()

    def carry_out(self, volume_id: str, work: Callable[[], T], *, file: str = "", wait: float | None = None) -> T:
        """Do work on a volume whose source must answer.

        Args:
            file: see `source_of`.
            wait: see `Patience.carry_out`.

        Raises:
            NoAnswer: the volume's share does not respond; nothing was started.
            OperationPending: see `Patience.carry_out`. Errors of the work are passed on.
        """
        source = source_of(volume_id, self._records.known(volume_id), file)
        if not source.file:
            # Waiting for a hanging device is fine: unstaging a device without paths ends the wait.
            return self._patience.carry_out(f"volume {volume_id}", work, wait=wait)
        self._require_answer(source)
        return self._patience.carry_out(source.name, work, wait=wait)

    def take_down(self, volume_id: str, work: Callable[[], None], give_up: Callable[[Device], None]) -> None:
        """`carry_out` for the work that removes a volume from this node.

        An earlier call may still wait in a multipath map that queues I/O. If the map has no paths left and none is expected
        back, it is given up, as this call would do.
        """
        try:
            self.carry_out(volume_id, work)
        except OperationPending:
            record = self._records.known(volume_id)
            device = record.device if record and not record.publications else None
            if device and health.is_without_paths(device):
                give_up(device)
            raise

    def release(self, volume_id: str, work: Callable[[bool], T]) -> T:
        """Do work that does not need the volume's share, such as unmounting a target. Its argument is whether the share answers."""
        answers = True
        try:
            self._require_answer(source_of(volume_id, self._records.known(volume_id)))
        except NoAnswer:
            answers = False
        return self._patience.carry_out(f"a target of volume {volume_id}", lambda: work(answers))

    def look(self, record: StageRecord, key: Hashable, work: Callable[[], T]) -> T:
        """Measure a volume. Raises NoAnswer, OperationPending: see `Patience.look`. Errors of the work are passed on."""
        source = source_of(record.volume_id, record)
        # Only one thread waits for a hanging share, not one for each volume on it.
        self._require_answer(source, leaves_room=True)
        return self._patience.look(source.name, (record.volume_id, key), work, leaves_room=True)

    def _require_answer(self, source: Source, *, leaves_room: bool = False) -> None:
        if source.file:
            self._patience.look(source.name, "answer", lambda: _ask(source.file), leaves_room=leaves_room)


def _ask(file: str) -> None:
    with suppress(OSError):  # an error is an answer, too
        try:
            kernel.ask_for(file)
        except AttributeError:  # a C library without statx
            os.stat(file)  # noqa: PTH116
