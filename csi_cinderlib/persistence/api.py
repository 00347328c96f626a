"""What every metadata store can do, and the rules on conflicts. Plugins know this module and nobody else.

Rules that a store keeps, and that the contract suite proves:

1. `add` is create-if-absent by id: of two callers exactly one succeeds, also across processes.
2. `replace` and `remove` compare the revision of the record given with the stored one, and change nothing when it differs.
3. What a call answered survives `kill -9` of the program (and of the store's server) right afterwards.
4. A volume with snapshots cannot be removed; its attachments go with it.
5. `page` walks in id order, by key and never by offset, so that depth costs nothing.
6. One record that cannot be read fails alone: `get` raises CorruptRecord, `page` lists its id in `Page.corrupt`.
7. No secret (`Provider.auth`, `Attachment.connection_info`) is stored in plain when the store was given a sealer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar, runtime_checkable

from csi_cinderlib.model.records import (
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
"""The fields by which `page` filters, each by equality; filters on several fields are joined by AND."""

Where = Mapping[str, str | tuple[str, ...]]


class Sealer(Protocol):
    """What turns secrets into text that only the holders of a key can read (`csi_cinderlib.sealing.Sealer`)."""

    def seal(self, plain: bytes, /) -> str: ...

    def open(self, text: str, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store is for.

    Attributes:
        durable: rule 3 holds. Without it the records live as long as the store object.
        shared: several processes may have it open at once.
    """

    durable: bool = True
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a walk.

    Attributes:
        records: in id order.
        next: the id to give as `after` for the next page, or "" at the end.
        corrupt: ids on this page whose records cannot be read.
    """

    records: tuple[R, ...]
    next: str = ""
    corrupt: tuple[str, ...] = ()


@runtime_checkable
class Store(Protocol):
    """A metadata store. All methods are thread-safe and may raise StoreUnavailable."""

    traits: Traits

    def add(self, record: R) -> R:
        """Store a new record and return it with its revision.

        Raises:
            AlreadyExists: the id is taken.
            NotFound: the volume that a snapshot or attachment names does not exist.
        """

    def get(self, kind: type[R], id: str) -> R:
        """Raises NotFound or CorruptRecord."""

    def replace(self, record: R) -> R:
        """Store a changed record and return it with its new revision.

        Raises:
            StaleRecord: the stored revision is not `record.revision`.
            NotFound: it is gone.
        """

    def remove(self, record: R) -> None:
        """Delete a record for good; what belongs to it goes with it.

        Raises:
            StaleRecord: the stored revision is not `record.revision`.
            NotFound: it is gone already.
            InUse: it is a volume that has snapshots.
        """

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = ...) -> Page[R]:
        """Up to `limit` records of that kind with an id greater than `after`, where the INDEXED fields equal `where`.

        A tuple as a value means "one of these": the attachments of a page of volumes are one query, not a hundred.

        Raises:
            InvalidRequest: `where` names a field that is not indexed.
        """

    def close(self) -> None:
        """Give back connections and locks. Nothing may be called afterwards."""


class Plugin(Protocol):
    """What an entry point of the group `csi_cinderlib.persistence` names."""

    def __call__(self, options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:
        """Open the store.

        Args:
            options: as configured under `store.options`. May hold passwords.
            state_dir: for whatever the plugin keeps on this host; exists.
            sealer: seals the fields flagged SECRET in the model; None stores them in plain.

        Raises:
            ConfigurationError: an option is wrong, says which and what to do, and never shows a password.
            StoreUnavailable: the store cannot be reached right now.
        """
