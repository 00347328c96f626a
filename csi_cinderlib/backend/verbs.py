"""The interface of a driver: verbs that take records and return plain data.

`cinder_driver.CinderDriver` executes them in this process, `remote.RemoteDriver` in the driver process. A verb changes no
records, except those that the driver itself changes through Cinder's database. This module and its imports do not import
Cinder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from csi_cinderlib.backend.stats import BackendStats, Candidate, DriverTraits, Rating
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import EMPTY, NOTHING, Attachment, Group, GroupSnapshot, Modification, Snapshot, Volume
from csi_cinderlib.model.size import GiB

BY_NAME = "source-name"
"""The usual key of a name in a driver's reference (Cinder's `existing_ref`)."""
NOT_STARTED = "not started"
"""`Driver.failure` until the first start attempt has ended."""
Columns = Mapping[str, Any]
"""A driver's update: JSON values by the names of Cinder's columns (`update_volume`)."""
Attachments = tuple[Attachment, ...]
"""All attachments of the volume."""


def is_name(key: str) -> bool:
    """Whether a key of a driver's reference stands for a name, such as `source-name` or `name`; others stand for ids or paths."""
    return key.endswith("name")


def by_name(reference: Mapping[str, str]) -> dict[str, str]:
    """The names in a driver's reference. They change when the object is renamed, ids do not."""
    return {key: value for key, value in reference.items() if is_name(key)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A driver's report: `get_volume_stats` with the filter and goodness functions.

    Attributes:
        ratio: the option `max_over_subscription_ratio`, for drivers that do not report a ratio.
    """

    raw: Mapping[str, Any] = field(default=NOTHING, repr=False)
    ratio: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The result of `create_export`.

    Attributes:
        volume: its record, which the driver may have changed.
    """

    columns: Columns
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The result of `terminate_connection`.

    Attributes:
        export_is_needed: whether other connections use the export, as the driver returns to Cinder's volume manager.
        volume: its record, which the driver may have changed.
    """

    export_is_needed: bool
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a deletion.

    Attributes:
        name: the object's name on the array.
        missing: the driver's message if it did not find the object, else "".
        out_of_reach: the driver finds such objects by an id assigned by the array, and the record has none.
        failure: why the deletion failed, if `out_of_reach` must be reported as well.
    """

    name: str
    missing: str = ""
    out_of_reach: bool = False
    failure: DriverError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped:
    """The result of `retype_volume`.

    Attributes:
        accepted: the driver reports that the volume has all wanted properties. If not, it may have some of them.
        untouched: nothing was changed, for certain: the driver was stopped before its first change.
    """

    accepted: bool
    untouched: bool = False
    columns: Columns = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manageable:
    """An object on the back end that the driver lists for an import.

    Attributes:
        reference: the driver's reference to it (Cinder's `existing_ref`).
        size: rounded up.
        problem: why it must not be imported, or "".
        remark: additional information of the driver.
        source: of a snapshot: the driver's reference to its volume.
        place: what contains it; see `Imported.place`.
        record: the id of the record that the driver knows for it, or "".
    """

    reference: Mapping[str, str]
    size: GiB
    problem: str = ""
    remark: str = ""
    source: Mapping[str, str] = EMPTY
    place: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An existing object, as the driver sees it. Only the drivers of this project report more than the size.

    Attributes:
        size: rounded up.
        length: in bytes, if known.
        place, object_id: see `Imported`.
        checked: `problem` tells all that a list tells.
        unseen: others may use it, and that cannot be seen.
        problem: why it must not be imported now, or "".
        columns: the update of its record that the content of the object needs. It is decided once, at the import.
    """

    size: GiB
    length: int | None = None
    place: str = ""
    object_id: str = ""
    checked: bool = False
    unseen: bool = False
    problem: str = ""
    columns: Columns = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Which names an imported object has on the back end.

    Attributes:
        former: an object has the name from before the import. False only if that is proven.
        own: an object has the name of the record. None if the driver cannot look for that name.
    """

    former: bool
    own: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The properties of a driver that has been set up."""

    traits: DriverTraits
    report: Report


class Existing(Protocol):
    """The verbs for objects that existed before their records. Thread-safe; they raise the errors of `Driver`."""

    def list_manageable(self, *, snapshots: bool = False) -> Sequence[Manageable]:
        """The existing volumes, or snapshots, that could be imported. Raises Unsupported if the driver lists none."""

    def measure_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Measured:
        """The size of an existing object. Raises DriverError if there is no such object, Unsupported."""

    def measure_own(self, record: Volume | Snapshot) -> Measured:
        """As `measure_existing`, for an object that already has the name of its record; for `DriverTraits.finds_by_name`."""

    def manage_existing(self, record: Volume | Snapshot, reference: Mapping[str, str]) -> Columns:
        """Make an existing object the volume or snapshot of this record. Most drivers rename it."""

    def locate(self, record: Volume | Snapshot) -> Whereabouts:
        """Where an imported object is. Raises DriverError if that is not known: an unanswered question proves nothing."""

    def unmanage(self, record: Volume | Snapshot, *, may_be_done: bool = False) -> str:
        """Stop managing an imported object, which may never have been managed. It is not deleted.

        Args:
            may_be_done: it may have its former name, because the import or an earlier attempt was interrupted. Otherwise an object with
                that name is another one.

        Returns:
            Its name on the back end afterwards: the former one, if the driver can restore it; "" if the driver chooses it.

        Raises:
            DriverError: the object was not found, or that is not known. It may still be managed.
        """


class Driver(Protocol):
    """A driver in any process. Thread-safe. All verbs raise BackendUnavailable before the start, and DriverError (see `faults`)."""

    name: str
    """The back end's name."""
    failure: str
    """Why it is not ready, without secrets."""

    @property
    def ready(self) -> bool: ...
    @property
    def existing(self) -> Existing: ...
    def start(self) -> Started | None:
        """Load and set up the driver. None if it is ready already."""

    def stop(self) -> None: ...
    def ask(self) -> None:
        """Request the report in the background, if the driver runs in another process."""

    def report(self, *, patience: float | None = None) -> Report:
        """Ask the driver for its report.

        Args:
            patience: seconds to wait. A later call returns an answer that arrives after that.

        Raises:
            TimeoutError: the driver did not respond within `patience`.
        """

    def rate(self, stats: BackendStats, candidate: Candidate, *, patience: float) -> Mapping[str, Rating]:
        """The ratings of a volume by pool name. Raises TimeoutError."""

    def name_of(self, record: Volume | Snapshot) -> str:
        """The object's name on the array."""

    def find_file(self, volume: Volume) -> str:
        """The path of the file that creating the volume would overwrite, or ""; for drivers with `DriverTraits.overwrites_files`."""

    def misses_file(self, volume: Volume) -> bool:
        """Whether deleting the volume would delete no file; for drivers with `DriverTraits.deletes_by_rm`."""

    def create_volume(self, volume: Volume, source: Snapshot | Volume | None) -> Columns:
        """Create an empty volume, or a copy of a snapshot or volume."""

    def delete_volume(self, volume: Volume, *, unfinished: bool) -> Outcome:
        """Delete a detached volume and its export. An `unfinished` volume was never exported."""

    def extend_volume(self, volume: Volume, attachments: Attachments, size: GiB) -> None: ...
    def size_of_volume(self, volume: Volume, attachments: Attachments) -> GiB:
        """The size on the back end, at least the size of the record. Raises DriverError if it cannot be determined."""

    def revert_volume(self, volume: Volume, snapshot: Snapshot) -> None: ...
    def retype_volume(self, volume: Volume, attachments: Attachments, modification: Modification) -> Retyped:
        """Change the volume in place from the type `origin` to the type `wanted`; for drivers with `DriverTraits.retype`."""

    def create_snapshot(self, snapshot: Snapshot, volume: Volume, attachments: Attachments) -> Columns: ...
    def delete_snapshot(
        self, snapshot: Snapshot, volume: Volume | None = None, attachments: Attachments = (), *, unfinished: bool
    ) -> Outcome:
        """Without its volume and the volume's attachments, they are read from the store."""

    def create_group(self, group: Group, volumes: Sequence[Volume]) -> None:
        """Create an empty group for these volumes."""

    def update_group(
        self, group: Group, volumes: Sequence[Volume], *, add: Sequence[Volume] = (), remove: Sequence[Volume] = ()
    ) -> Mapping[str, Columns]:
        """Add volumes to a group, or remove them. Returns updates by volume id."""

    def create_group_snapshot(
        self, record: GroupSnapshot, group: Group, volumes: Sequence[Volume], members: Sequence[Snapshot]
    ) -> tuple[Columns, Mapping[str, Columns]]:
        """Returns the updates of the group snapshot, and of its members by id."""

    def delete_group_snapshot(
        self, record: GroupSnapshot, group: Group, members: Sequence[Snapshot]
    ) -> Mapping[str, Outcome]:
        """Returns outcomes by member id. A failure of the group applies to each member."""

    def delete_group(self, group: Group) -> None: ...

    def validate_connector(self, connector: Mapping[str, object]) -> None:
        """Raises InvalidRequest if a node with these properties cannot reach the back end."""

    def export_again(self, volume_id: str) -> None:
        """Export the volume now if it was attached before the start; for `DriverTraits.exports_at_start`."""

    def create_export(self, volume: Volume, attachment: Attachment, attachments: Attachments) -> Exported: ...
    def initialize_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments
    ) -> Mapping[str, object]:
        """The connection info for the node."""

    def terminate_connection(
        self, volume: Volume, attachment: Attachment, attachments: Attachments, *, forced: bool | None = False
    ) -> Released:
        """A missing volume counts as unmapped.

        Args:
            forced: the driver's argument `force`; None omits it.
        """

    def remove_export(self, volume: Volume, attachments: Attachments) -> None: ...
