"""What a driver does for the rest of the program: verbs on records, answered with plain data.

`cinder_driver.CinderDriver` carries them out in this process, `remote.RemoteDriver` has the process of the driver do so. A verb changes no
record, except what the driver itself changes by way of Cinder's database. Nothing here, and nothing that this module imports,
imports Cinder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from csi_cinderlib.backend.stats import BackendStats, Candidate, DriverTraits, Rating
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import NOTHING, Attachment, Group, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.size import GiB

NOT_STARTED = "not started"
"""`Driver.failure` until the first attempt has ended."""
Columns = Mapping[str, Any]
"""What a driver wants to be kept, by the names of Cinder's columns; JSON values (`update_volume`)."""
Attachments = tuple[Attachment, ...]
"""All attachments of the volume concerned, as drivers see them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a driver reports about itself: `get_volume_stats`, with the functions that say where volumes go.

    Attributes:
        ratio: the option `max_over_subscription_ratio`, for drivers that do not report it.
    """

    raw: Mapping[str, Any] = field(default=NOTHING, repr=False)
    ratio: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What came of `create_export`.

    Attributes:
        volume: its record, which the driver may have changed meanwhile.
    """

    columns: Columns
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What came of `terminate_connection`.

    Attributes:
        export_is_needed: by others, as the driver says (and Cinder's volume manager asks).
        volume: its record, which the driver may have changed meanwhile.
    """

    export_is_needed: bool
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a deletion.

    Attributes:
        name: what the driver calls the object on the array.
        missing: the driver's words when it did not find that very object, else "".
        out_of_reach: the driver knows such objects by an id that the array assigned, and there was none to look for.
        failure: why it failed, where `out_of_reach` must be told nevertheless.
    """

    name: str
    missing: str = ""
    out_of_reach: bool = False
    failure: DriverError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What is known of a driver once it was set up."""

    traits: DriverTraits
    report: Report


class Driver(Protocol):
    """A driver, wherever it runs. Thread-safe. All verbs raise BackendUnavailable before the start, and DriverError as `faults` says."""

    name: str
    """The back end's."""
    failure: str
    """Why it is not ready, without secrets."""

    @property
    def ready(self) -> bool: ...
    def start(self) -> Started | None:
        """Load and set up the driver; None when it is ready already."""

    def stop(self) -> None: ...
    def ask(self) -> None:
        """Begin to ask for the report, where that does not take this thread."""

    def report(self, *, patience: float | None = None) -> Report:
        """Ask the driver for its report.

        Args:
            patience: seconds. A later call gets what comes after that.

        Raises:
            TimeoutError: there was no answer within `patience`.
        """

    def rate(self, stats: BackendStats, candidate: Candidate, *, patience: float) -> Mapping[str, Rating]:
        """What the functions say of a volume, by the names of the pools. Raises TimeoutError."""

    def name_of(self, record: Volume | Snapshot) -> str:
        """What the driver calls the object on the array."""

    def find_file(self, volume: Volume) -> str:
        """The path of the file that creating the volume would overwrite, or ""; for drivers with `DriverTraits.overwrites_files`."""

    def misses_file(self, volume: Volume) -> bool:
        """Whether deleting the volume would delete no file; for drivers with `DriverTraits.deletes_by_rm`."""

    def create_volume(self, volume: Volume, source: Snapshot | Volume | None) -> Columns:
        """New, from a snapshot, or as a clone."""

    def delete_volume(self, volume: Volume, *, unfinished: bool) -> Outcome:
        """Delete a volume that nobody is attached to, and its export unless it is `unfinished`, which was never exported."""

    def extend_volume(self, volume: Volume, attachments: Attachments, size: GiB) -> None: ...
    def size_of_volume(self, volume: Volume, attachments: Attachments) -> GiB:
        """What it has on the back end, at least that of the record. Raises DriverError where that cannot be looked at."""

    def revert_volume(self, volume: Volume, snapshot: Snapshot) -> None: ...
    def create_snapshot(self, snapshot: Snapshot, volume: Volume, attachments: Attachments) -> Columns: ...
    def delete_snapshot(self, snapshot: Snapshot, *, unfinished: bool) -> Outcome: ...

    def create_group(self, group: Group, volumes: Sequence[Volume]) -> None:
        """An empty one, for these volumes."""

    def update_group(
        self, group: Group, volumes: Sequence[Volume], *, add: Sequence[Volume] = (), remove: Sequence[Volume] = ()
    ) -> Mapping[str, Columns]:
        """Put some of its volumes into a group, or take them out; what is to be kept, by the ids of volumes."""

    def create_group_snapshot(
        self, record: GroupSnapshot, group: Group, volumes: Sequence[Volume], members: Sequence[Snapshot]
    ) -> tuple[Columns, Mapping[str, Columns]]:
        """What is to be kept of it, and of its members by their ids."""

    def delete_group_snapshot(
        self, record: GroupSnapshot, group: Group, members: Sequence[Snapshot]
    ) -> Mapping[str, Outcome]:
        """By the ids of the members. Each has the failure that all share."""

    def delete_group(self, group: Group) -> None: ...

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        """Raises InvalidRequest when a node with these properties cannot reach the back end."""

    def export_again(self, volume_id: str) -> None:
        """Export the volume before its turn comes, if it is attached since before the start; for `DriverTraits.exports_at_start`."""

    def create_export(self, volume: Volume, attachment: Attachment, attachments: Attachments) -> Exported: ...
    def initialize_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments
    ) -> Mapping[str, object]:
        """The connection info for the node."""

    def terminate_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments, *, forced: bool | None = False
    ) -> Released:
        """A volume that is gone has no mapping any more.

        Args:
            forced: as the driver's argument `force`; None leaves it out.
        """

    def remove_export(self, volume: Volume, attachments: Attachments) -> None: ...
