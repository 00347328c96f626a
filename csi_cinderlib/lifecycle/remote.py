"""A back end whose driver runs in a separate process, for the controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.line import Cause
from csi_cinderlib.backend.option_trial import OptionTrial
from csi_cinderlib.backend.remote import Measured, RemoteDriver
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle import room
from csi_cinderlib.lifecycle.backend import NO_TYPES, Backend
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.persistence.api import Store


class RemoteBackend(Backend):
    """See `lifecycle.backend.Backend`. If the process ends, the records show the progress of its calls, and retries continue from there.

    Args:
        assign: returns the assignment of a process; its argument tells whether this is the first process.
        deadline: until when this process may act.
        bulkhead: call limits, shared by all back ends.
        metrics: destination of the driver's metrics.
        set_up_seconds: overrides `backend.remote.SET_UP_SECONDS`.
        owner: name of the controller in records of operations in progress.
    """

    verbs: RemoteDriver

    def __init__(
        self,
        assign: Callable[[bool], Assignment],
        *,
        store: Store,
        deadline: Deadline,
        bulkhead: Bulkhead,
        metrics: Measured | None = None,
        set_up_seconds: float = 0.0,
        owner: str = "",
        volume_types: Mapping[str, VolumeType] = NO_TYPES,
    ) -> None:
        self._assign = assign
        self._deadline = deadline
        self._bulkhead = bulkhead
        self._trial = OptionTrial()
        assignment = assign(True)
        driver = RemoteDriver(assign, store=store, deadline=deadline, metrics=metrics, set_up_seconds=set_up_seconds)
        super().__init__(
            assignment.settings,
            driver,
            store=store,
            room=room.of(assignment.state_dir),
            owner=owner,
            volume_types=volume_types,
        )

    @contextmanager
    def _admitted(self, *, creates: bool = False, releases: bool = False) -> Iterator[None]:
        with self._bulkhead.entered(self.name, creates=creates, releases=releases), self.verbs.operation():
            yield

    def check_options(self, seconds: float) -> None:
        """Check the options in a separate process, whether this back end was started or not. See `OptionTrial.run`."""
        self._trial.run(self._assign(False), store=self._store, deadline=self._deadline, seconds=seconds)

    def stop(self) -> None:
        super().stop()
        self._trial.stop()

    @property
    def remark(self) -> str:
        return "; ".join(filter(None, (self.verbs.remark, super().remark)))

    @property
    def pid(self) -> int:
        """Process id of the driver; 0 if there is no process."""
        return self.verbs.pid

    def wait_until_ended(self) -> str:
        """Wait until the process ends, or hangs and is killed. Returns the reason as a clause, or "" after `stop`."""
        return self.verbs.wait_until_ended()

    @property
    def last_cause(self) -> Cause:
        """Why the last process ended that was not stopped on purpose."""
        return self.verbs.last_cause

    def log_from(self, level: str) -> None:
        """Set the log level of the process."""
        self.verbs.log_from(level)

    def log_stacks(self) -> None:
        """Make the process log the stacks of its threads."""
        self.verbs.log_stacks()

    def stacks(self, seconds: float) -> Sequence[Mapping[str, object]]:
        """Return the stacks of its threads; waits at most `seconds`. Raises BackendUnavailable."""
        return self.verbs.stacks(seconds)

    def kill(self, why: Cause | None = None) -> None:
        """Kill the process at once."""
        self.verbs.kill(why)
