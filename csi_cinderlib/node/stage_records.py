"""The directory of stage records: atomic writes, durable, readable by root only."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from csi_cinderlib.errors import CorruptRecord, HostError, InvalidRequest
from csi_cinderlib.host import kernel
from csi_cinderlib.host.reserve import Reserve
from csi_cinderlib.node import durable_files
from csi_cinderlib.node.amendments import Amendments
from csi_cinderlib.node.attachment_history import AttachmentHistory
from csi_cinderlib.node.format_marks import KEPT_SECONDS, FormatMarks
from csi_cinderlib.node.growth import Growth
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.record_key import RecordKey
from csi_cinderlib.node.record_secrets import Vault
from csi_cinderlib.node.stage_record import StageRecord, decode, encode, exposes_secrets
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class AllRecords:
    """All records of this node; `corrupt` holds an error for each record that cannot be read."""

    records: tuple[StageRecord, ...]
    corrupt: tuple[CorruptRecord, ...]


class StageRecords:
    """The stage records below `state_dir/stage`. Callers hold the volume's lock to save or remove its record.

    Args:
        names: resolves the paths in records; earlier versions stored them unresolved.
        vault: seals the secrets in records; by default with a key in `state_dir`.

    Attributes:
        formatted: marks that outlive a record, below `state_dir/formatted`.
        attachments: the attachments that each volume has had here, below `state_dir/attachments`.
        growth: growth of unmounted file systems, with undo files below `state_dir/growth`.
    """

    def __init__(self, state_dir: Path, names: Paths | None = None, vault: Vault | None = None) -> None:
        self._names = names or Paths()
        self.directory = state_dir / "stage"
        self._boot_id = kernel.boot_id()
        self._known: dict[str, tuple[bytes, StageRecord]] = {}
        self._guard = threading.Lock()
        with kernel.named(f"cannot prepare {self.directory}"):
            durable_files.prepare(self.directory)
            self._amendments = Amendments(state_dir / "stage-changes")
            self._amendments.sweep({path.name for path in self.directory.iterdir()})
        self._vault = vault or _own_key(state_dir)
        self._reserve = Reserve(state_dir / "stage-reserve")
        self._reserve.fill()
        self.formatted = FormatMarks(state_dir / "formatted")
        self.attachments = AttachmentHistory(state_dir / "attachments")
        self.growth = Growth(state_dir / "growth", self._boot_id)
        for record in self.all().records:
            self._remember(*self._without_plain_secrets(record))

    @property
    def boot_id(self) -> str:
        """The id of the current boot."""
        return self._boot_id

    def find(self, volume_id: str) -> StageRecord | None:
        """Raises CorruptRecord, naming the file, if the record cannot be read."""
        return self._read(self._path(volume_id), volume_id)

    def known(self, volume_id: str) -> StageRecord | None:
        """The record in this process's memory; does not read the disk."""
        with self._guard:
            known = self._known.get(volume_id)
        return known[1] if known else None

    def save(self, record: StageRecord, *, frees: bool = False, this_boot: bool = False) -> StageRecord:
        """Store the record. It survives an immediate power loss.

        Args:
            frees: the write is part of unstage or clean-up, which must continue on a full disk.
            this_boot: the change matters only until the next boot, such as mounts and device paths. It survives the end of this
                process; after a power loss the record may be the previous one.

        Raises:
            HostError: the record could not be stored; the previous one is unchanged.
        """
        record = replace(record, boot_id=self._boot_id)
        path, content = self._path(record.volume_id), encode(record, self._vault)
        with kernel.named(f"cannot store the stage record of volume {record.volume_id} in {self.directory}"):
            if frees:
                self._reserve.run(lambda: self._write(path, content, this_boot=this_boot))
            else:
                self._write(path, content, this_boot=this_boot)
        return self._remember(content, record)

    def _without_plain_secrets(self, record: StageRecord) -> tuple[bytes, StageRecord]:
        """Rewrite a record in which an earlier version stored plain-text secrets. If that fails, the old record is still used.

        Returns:
            The current content and record. Raises OSError if the file cannot be read.
        """
        path = self._path(record.volume_id)
        durable, content = kernel.read(str(path)), self._content(path)
        if content == durable:  # an earlier start may have ended before it removed obsolete changes
            self._amendments.forget(path.name)
        if not (exposes_secrets(durable) or exposes_secrets(content)):
            return content, record
        try:
            hidden = encode(record, self._vault)
            self._reserve.run(lambda: self._write(path, hidden, this_boot=False))
        except (OSError, HostError) as error:
            _log.warning("plain-text secrets kept in stage record", volume=record.volume_id, reason=str(error))
            return content, record
        return hidden, self._decoded(hidden, path, record.volume_id)

    def _write(self, path: Path, content: bytes, *, this_boot: bool) -> None:
        """Raises OSError."""
        if this_boot and self._amend(path, content):
            return
        durable_files.store(path, content)
        self._amendments.forget(path.name)

    def _amend(self, path: Path, content: bytes) -> bool:
        try:
            stored = kernel.read(str(path))
        except FileNotFoundError:
            return False
        return self._amendments.add(path.name, content, instead_of=stored)

    def note(self, record: StageRecord) -> StageRecord:
        """Change a stored record in memory only: `find` returns it until the record is saved or its file changes.

        For changes that a later process can detect itself or does not need.
        """
        with self._guard:
            known = self._known.get(record.volume_id)
        if known is None:
            return self.save(record, this_boot=True)
        return self._remember(known[0], replace(record, boot_id=self._boot_id))

    def remove(self, volume_id: str) -> None:
        """Remove the volume's record, if there is one."""
        if self.growth.forget(volume_id):
            _log.error("interrupted file system growth not undone", volume=volume_id)
        path = self._path(volume_id)
        with kernel.named(f"cannot remove the stage record of volume {volume_id}"):
            durable_files.remove(path)
            self._amendments.forget(path.name)
        self._reserve.fill()
        with self._guard:
            self._known.pop(volume_id, None)

    def all(self) -> AllRecords:
        records, corrupt = [], []
        for path in sorted(self.directory.glob(f"*{_SUFFIX}")):
            try:
                if record := self._read(path, path.stem):
                    records.append(record)
            except CorruptRecord as error:
                corrupt.append(error)
        return AllRecords(tuple(records), tuple(corrupt))

    def forget_old_marks(self, now: float) -> None:
        """Remove old marks and attachment histories of volumes without a record. `now` is in seconds since 1970."""
        in_use = {path.stem for path in self.directory.glob(f"*{_SUFFIX}")}
        self.formatted.prune(now, in_use=in_use)
        self.attachments.prune(now - KEPT_SECONDS, in_use=in_use)

    def owner_of(self, wwid: str, *, other_than: str) -> str:
        """The volume, except `other_than`, whose record names this device; "" if there is none."""
        owners = (record.volume_id for record in self.others(other_than) if wwid in record.identities)
        return next(owners, "") if wwid else ""

    def staged_at(self, path: str, *, other_than: str) -> str:
        """The volume, except `other_than`, whose record names this staging path; "" if there is none."""
        return next((record.volume_id for record in self.others(other_than) if record.staging_path == path), "")

    def others(self, volume_id: str) -> tuple[StageRecord, ...]:
        """The records, in memory, of all other volumes."""
        with self._guard:
            return tuple(record for _, record in self._known.values() if record.volume_id != volume_id)

    def _remember(self, content: bytes, record: StageRecord) -> StageRecord:
        with self._guard:
            self._known[record.volume_id] = (content, record)
        return record

    def _read(self, path: Path, volume_id: str) -> StageRecord | None:
        try:
            content = self._content(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"cannot read {path}: {error.strerror}") from error
        with self._guard:
            known = self._known.get(volume_id)
        if known and known[0] == content:
            return known[1]
        return self._decoded(content, path, volume_id)  # not cached: the caller may not hold the lock

    def _content(self, path: Path) -> bytes:
        """The current content of a record. Raises OSError."""
        return self._amendments.latest(path.name, lambda: kernel.read(str(path)))

    def _decoded(self, content: bytes, path: Path, volume_id: str) -> StageRecord:
        try:
            record = decode(content, self._vault)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidRequest) as error:
            problem = error if isinstance(error, (ValueError, InvalidRequest)) else f"{type(error).__name__} {error}"
            raise CorruptRecord("stage", volume_id, f"{path}: {problem}") from None
        if self._path(record.volume_id) != path:
            raise CorruptRecord("stage", volume_id, f"{path} belongs to volume {record.volume_id!r}")
        return self._renamed(record)

    def _renamed(self, record: StageRecord) -> StageRecord:
        targets = (replace(item, target_path=self._names.known(item.target_path)) for item in record.publications)
        return replace(record, staging_path=self._names.known(record.staging_path), publications=tuple(targets))

    def _path(self, volume_id: str) -> Path:
        return self.directory / (durable_files.name_of(volume_id) + _SUFFIX)


def _own_key(state_dir: Path) -> RecordKey:
    key = RecordKey(state_dir)
    key.prepare()
    return key
