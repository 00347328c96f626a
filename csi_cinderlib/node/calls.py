"""Carries out what calls do to volumes, so that no share and no device takes the threads of the server, or another volume's time."""

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
    """What a volume depends on, and other volumes may as well.

    Attributes:
        name: the directory that the volume's file lies in, on a share perhaps; or its device.
        file: the volume's file, or "".
    """

    name: str
    file: str = ""


def source_of(volume_id: str, record: StageRecord | None, file: str = "") -> Source:
    """Pure.

    Args:
        record: of the volume on this node, if there is one.
        file: where a volume without a device lies, or will lie.
    """
    device = record.device if record else None
    if file := (device.file if device else file):
        return Source(os.path.dirname(file), file)  # noqa: PTH120 - asked in each call
    return Source(f"{device.path} ({device.wwid})" if device else f"volume {volume_id}")


class Calls:
    """Calls for volumes, each in the room that its source has. Thread-safe."""

    def __init__(self, records: StageRecords, patience: Patience | None = None) -> None:
        self._records = records
        self._patience = patience or Patience()

    def carry_out(self, volume_id: str, work: Callable[[], T], *, file: str = "", wait: float | None = None) -> T:
        """Do something to a volume for which its source must answer.

        Args:
            file: see `source_of`.
            wait: see `Patience.carry_out`.

        Raises:
            NoAnswer: its share does not answer; nothing was begun.
            OperationPending: see `Patience.carry_out`. Also whatever the work raises.
        """
        source = source_of(volume_id, self._records.known(volume_id), file)
        if not source.file:
            # A device that hangs may be waited for, and unstaging one without paths is what ends the wait.
            return self._patience.carry_out(f"volume {volume_id}", work, wait=wait)
        self._require_answer(source)
        return self._patience.carry_out(source.name, work, wait=wait)

    def take_down(self, volume_id: str, work: Callable[[], None], give_up: Callable[[Device], None]) -> None:
        """`carry_out` for what ends a volume on this node.

        An earlier call may have begun while a path was expected back, and wait ever since in a map that queues what it is asked. Once
        no path is expected back, the map is given up as it would be if this call were carried out.
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
        """Do what does not need the volume's share, as unmounting a target. The work is told whether the share answers."""
        answers = True
        try:
            self._require_answer(source_of(volume_id, self._records.known(volume_id)))
        except NoAnswer:
            answers = False
        return self._patience.carry_out(f"a target of volume {volume_id}", lambda: work(answers))

    def look(self, record: StageRecord, key: Hashable, work: Callable[[], T]) -> T:
        """Measure something of a volume. Raises NoAnswer, OperationPending: see `Patience.look`. Also whatever the work raises."""
        source = source_of(record.volume_id, record)
        # One thread waits for a share that hangs, and not one for each volume on it.
        self._require_answer(source, leaves_room=True)
        return self._patience.look(source.name, (record.volume_id, key), work, leaves_room=True)

    def _require_answer(self, source: Source, *, leaves_room: bool = False) -> None:
        if source.file:
            self._patience.look(source.name, "answer", lambda: _ask(source.file), leaves_room=leaves_room)


def _ask(file: str) -> None:
    with suppress(OSError):  # that is an answer
        try:
            kernel.ask_for(file)
        except AttributeError:  # a C library without statx
            os.stat(file)  # noqa: PTH116
