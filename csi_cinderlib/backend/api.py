"""What a back end is to the rest of the program. `lifecycle.backend.Backend` is one.

Nothing here, and nothing that this module imports, imports Cinder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, Candidate, RatedStats
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.size import GiB

NOT_STARTED = "not started"
"""`BackEnd.failure` until the first attempt has ended."""
GRACE = timedelta(minutes=10)
"""How old an unfinished creation is when the controller undoes it. The provisioner retries within five minutes at most."""

Check = Callable[[Sequence[Attachment]], None]
"""Raises when the volume's other attachments exclude one more."""


def anybody(_others: Sequence[Attachment]) -> None:
    """No attachment excludes another."""


class BackEnd(Protocol):
    """A back end. Thread-safe; whoever calls holds the lock of the volume or snapshot concerned.

    `lifecycle.backend.Backend` says what each call does and raises.
    """

    settings: BackendSettings
    name: str
    failure: str
    """Why it is not ready, without secrets."""

    @property
    def ready(self) -> bool: ...
    @property
    def problem(self) -> str: ...
    @property
    def remark(self) -> str:
        """What people should know about it although it is ready; "" mostly."""

    @property
    def capabilities(self) -> BackendCapabilities: ...
    def without_secrets(self, error: DriverError) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def stats(self, *, refresh: bool = False) -> BackendStats: ...
    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        """Ask for the report, and what the functions of its pools say of such a volume. What is returned waits for the answer, so many
        seconds at most."""

    def create_volume(self, record: Volume) -> Volume: ...
    def resume_create_volume(self, record: Volume) -> Volume: ...
    def delete_volume(self, record: Volume) -> None: ...
    def extend_volume(self, record: Volume, size: GiB) -> Volume: ...
    def revert_volume(self, record: Volume, snapshot: Snapshot) -> Volume: ...
    def create_snapshot(self, record: Snapshot) -> Snapshot: ...
    def resume_create_snapshot(self, record: Snapshot) -> Snapshot: ...
    def delete_snapshot(self, record: Snapshot) -> None: ...
    def create_group_snapshot(self, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot: ...
    def resume_create_group_snapshot(self, record: GroupSnapshot) -> GroupSnapshot: ...
    def delete_group_snapshot(self, record: GroupSnapshot) -> None: ...
    def validate_connector(self, connector: Mapping[str, object]) -> None: ...
    def connect(self, volume: Volume, attachment: Attachment, *, check: Check = ...) -> Attachment: ...
    def disconnect(self, attachment: Attachment) -> None: ...
