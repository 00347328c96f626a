"""Export attached volumes again after a start, concurrently with other calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.errors import CorruptRecord, DriverError, NotFound
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.iteration import all_of, walk

_log = logs.logger(__name__)
WORKERS = 4
"""Concurrent exports; at most half of `max_concurrent_calls`."""
PAUSE_SECONDS = 60.0
"""Seconds before failed exports are retried; doubled each time."""
LONGEST_PAUSE_SECONDS = 15 * 60.0


class Exports:
    """A walk over all attached volumes, repeated for failed ones until all succeed. Ends with its back end.

    A volume that is attached or detached before the walk reaches it is exported at that time (`ensure`): its node may need the export
    immediately, and drivers can only remove a connection from an exported volume.
    """

    def __init__(self, engine: Engine, driver: Any, *, pause: float = PAUSE_SECONDS) -> None:
        self._engine = engine
        self._driver = driver
        self._pause = pause
        self._stopped = threading.Event()
        self._walk_ended = threading.Event()
        self._walked = threading.Event()
        self._guard = threading.Lock()
        self._done: set[str] = set()
        self._warned: set[str] = set()
        self._complete = False

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"exports-{self._engine.name}", daemon=True).start()

    def stop(self) -> None:
        """Start no further exports. Running ones finish."""
        self._stopped.set()
        self.end_walk()

    def end_walk(self) -> None:
        """Leave the walk to the next process; calls of this process still export their volumes."""
        self._walk_ended.set()
        self._walked.set()

    def wait(self) -> None:
        """Wait until each volume has been tried once."""
        self._walked.wait()

    def ensure(self, volume_id: str) -> None:
        """Export this volume now, unless it has been exported. Raises DriverError."""
        if self._is_due(volume_id):
            with self._engine.turn(volume_id):
                if self._is_due(volume_id):
                    self._export(volume_id)
                    self._done.add(volume_id)

    def _is_due(self, volume_id: str) -> bool:
        return not (self._complete or self._stopped.is_set() or volume_id in self._done)

    def _run(self) -> None:
        pause = self._pause
        while failures := self._walk():
            self._walked.set()
            _log.warning(
                "attached volumes not re-exported", backend=self._engine.name, failures=failures, retry_seconds=pause
            )
            if self._walk_ended.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if self._walk_ended.is_set():
            return
        self._complete = True
        self._done.clear()
        self._walked.set()

    def _walk(self) -> int:
        """Export all due volumes concurrently. Returns the number of failures."""
        volume_ids, failures = self._attached(), list[str]()
        workers = [
            threading.Thread(target=self._work, args=(volume_ids, failures), name=f"export-{number}", daemon=True)
            for number in range(self._workers())
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return len(failures)

    def _workers(self) -> int:
        limit = self._engine.calls_at_a_time
        return min(WORKERS, max(1, limit // 2)) if limit else WORKERS

    def _work(self, volume_ids: Iterator[str], failures: list[str]) -> None:
        while True:
            volume_id = ""
            try:
                with self._guard:
                    volume_id = next(volume_ids, "")
                if not volume_id:
                    return
                self.ensure(volume_id)
            except Exception as error:  # a bug that affects one volume must not end the walk
                failures.append(volume_id)
                self._warn(volume_id, error)

    def _warn(self, volume_id: str, error: Exception) -> None:
        """Warn once per volume; "" stands for the list of attachments."""
        if volume_id in self._warned:
            return
        self._warned.add(volume_id)
        event = "re-export failed" if volume_id else "list of attached volumes not read"
        values = {"backend": self._engine.name, **({"volume": volume_id} if volume_id else {})}
        if isinstance(error, DriverError):
            _log.warning(event, **values, reason=str(error))
        else:
            _log.exception(event, error, **values)

    def _attached(self) -> Iterator[str]:
        """The ids of attached volumes, read in pages on demand."""
        for attachment in walk(self._engine.store, Attachment, {"backend": self._engine.name}):
            if self._walk_ended.is_set():
                return
            if self._is_due(attachment.volume_id):
                yield attachment.volume_id

    def _export(self, volume_id: str) -> None:
        """Export the volume. If another controller removes the last attachment in the meantime, remove the export again."""
        engine = self._engine
        try:
            volume = engine.store.get(Volume, volume_id)
        except NotFound:
            return
        work = engine.work(volume)
        # An unreadable attachment must not affect the others.
        attached = work.attached[volume_id] = tuple(walk(engine.store, Attachment, {"volume_id": volume_id}))
        if not any(attachment.status is Status.AVAILABLE for attachment in attached):
            return
        exported = engine.volume_object(work, volume)
        engine.call(work, self._driver.ensure_export, engine.context, exported)
        try:
            left = all_of(engine.store, Attachment, {"volume_id": volume_id})
        except CorruptRecord:
            return  # a node may need the export
        if all(attachment.status is Status.DELETING for attachment in left):
            engine.call(work, self._driver.remove_export, engine.context, exported)
