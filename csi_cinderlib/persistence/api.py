"""The protocol of metadata stores, and the rules for conflicts. Plugins depend on this module only.

Rules that each store must keep; the contract suite tests them:

1. `add` creates a record only if the id is free: exactly one of two callers succeeds, also across processes.
2. `replace` and `remove` compare the revision of the given record with the stored one, and change nothing if they differ.
3. A completed write survives `kill -9` of the program, and of the server of the store, immediately afterwards.
4. A volume with snapshots cannot be removed. Removing a volume removes its attachments.
5. `page` walks in id order, by key and never by offset, so that the cost does not depend on the position.
6. An unreadable record does not affect others: `get` raises CorruptRecord, `page` lists its id in `Page.corrupt`.
7. A store with a sealer never stores a secret (`Provider.auth`, `Attachment.connection_info`) in plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from csi_cinderlib.model.records import (
    EMPTY,
    Attachment,
    Group,
    GroupSnapshot,
    InitiatorData,
    KeyValue,
    Node,
    Record,
    Snapshot,
    Volume,
)

R = TypeVar("R", Volume, Snapshot, Attachment, Group, GroupSnapshot, InitiatorData, KeyValue, Node)

KINDS: tuple[type[Record], ...] = (
    Volume,
    Snapshot,
    Attachment,
    Group,
    GroupSnapshot,
    InitiatorData,
    KeyValue,
    Node,
)

INDEXED: Mapping[type[Record], tuple[str, ...]] = MappingProxyType(
    {
        Volume: ("backend", "name", "group_id", "status"),
        Snapshot: ("backend", "volume_id", "name", "group_snapshot_id", "status"),
        Attachment: ("backend", "volume_id", "node_id", "status"),
        Group: ("backend",),
        GroupSnapshot: ("backend", "name", "status"),
        InitiatorData: ("initiator", "namespace"),
        KeyValue: (),
        Node: (),
    }
)
"""The fields by which `page` can filter, each by equality. Filters on several fields are combined by AND."""

Where = Mapping[str, str | tuple[str, ...]]


class Sealer(Protocol):
    """Encrypts secrets to text that only the holders of a key can read (`csi_cinderlib.sealing.Sealer`)."""

    def seal(self, plain: bytes, /) -> str: ...

    def open(self, text: str, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of a store.

    Attributes:
        durable: rule 3 applies. Otherwise the records exist only as long as the store object.
        shared: several processes can open the store at the same time.
    """

    durable: bool = True
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a walk.

    Attributes:
        records: in id order.
        next: the value of `after` for the next page, or "" at the end.
        corrupt: ids of unreadable records on this page.
    """

    records: tuple[R, ...]
    next: str = ""
    corrupt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection(Generic[R]):
    """Which records to read: the one with an id, or those whose INDEXED fields equal `where`.

    Attributes:
        limit: as in `Store.page`.
    """

    kind: type[R]
    where: Where = EMPTY
    id: str = ""
    limit: int = 500


@runtime_checkable
class Store(Protocol):
    """A metadata store. All methods are thread-safe and may raise StoreUnavailable."""

    traits: Traits

    def add(self, record: R) -> R:
        """Store a new record and return it with its revision.

        Raises:
            AlreadyExists: the id is in use.
            NotFound: the volume of a snapshot or attachment does not exist.
        """

    def get(self, kind: type[R], id: str) -> R:
        """Raises NotFound or CorruptRecord."""

    def replace(self, record: R) -> R:
        """Store a changed record and return it with its new revision.

        Raises:
            StaleRecord: the stored revision is not `record.revision`.
            NotFound: the record no longer exists.
        """

    def remove(self, record: R) -> None:
        """Delete a record and the records that belong to it.

        Raises:
            StaleRecord: the stored revision is not `record.revision`.
            NotFound: the record no longer exists.
            InUse: the record is a volume with snapshots.
        """

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = ...) -> Page[R]:
        """Return up to `limit` records of a kind with an id greater than `after`, whose INDEXED fields equal `where`.

        A tuple as a value means "one of these", so the attachments of a page of volumes take one query.

        Raises:
            InvalidRequest: `where` names a field that is not indexed.
        """

    def close(self) -> None:
        """Release connections and locks. The store must not be used afterwards."""


@runtime_checkable
class Comparing(Protocol):
    """A store in this process, which compares a record with the stored one much faster than it reads one."""

    def is_current(self, record: Record, /) -> bool:
        """Whether this is the stored record: it exists, with the same revision."""

    def ids(self, kind: type[Record], where: Where = ..., /) -> list[str]:
        """The ids that the pages of `Store.page` contain."""


@runtime_checkable
class Selecting(Protocol):
    """A store across a network that reads several pages in one round trip, and all of them in the same state."""

    def pages(self, selections: Sequence[Selection[Any]], /) -> Sequence[Page[Any]]:
        """The first page of each selection. May raise StoreUnavailable.

        A missing record is an empty page, and an unreadable one is listed in `Page.corrupt`.
        """


class Plugin(Protocol):
    """The type of an entry point of the group `csi_cinderlib.persistence`."""

    def __call__(self, options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:
        """Open the store.

        Args:
            options: the configured `store.options`. They may contain passwords.
            state_dir: an existing directory for files of the plugin on this host.
            sealer: seals the fields marked SECRET in the model; with None they are stored in plain text.

        Raises:
            ConfigurationError: an option is invalid. The message names it and the remedy, and never contains a password.
            StoreUnavailable: the store cannot be reached right now.
        """
