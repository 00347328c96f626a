"""The directory of stage records: atomic, durable, private to root."""

from __future__ import annotations

import logging
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

_log = logging.getLogger(__name__)
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class AllRecords:
    """Every record of this node; `corrupt` names those that cannot be read, with the reason."""

    records: tuple[StageRecord, ...]
    corrupt: tuple[CorruptRecord, ...]


class StageRecords:
    """The stage records below `state_dir/stage`. Callers hold the volume's lock for whatever they save or remove.

    Args:
        names: gives the paths in records their one name: earlier versions recorded them as they were given.
        vault: seals the secrets that a record must keep; by default with a key in `state_dir`.

    Attributes:
        formatted: the marks that outlive a record, below `state_dir/formatted`.
        attachments: those that each volume has had here, below `state_dir/attachments`.
        growth: of unmounted file systems, with undo files below `state_dir/growth`.
    """

    def __init__(self, state_dir: Path, names: Paths | None = None, vault: Vault | None = None) -> None:
        self._names = names or Paths()
        self.directory = state_dir / "stage"
        self._boot_id = kernel.boot_id()
        self._known: dict[str, tuple[bytes, StageRecord]] = {}
        self._guard = threading.Lock()
        with kernel.named(f"preparing {self.directory}"):
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
        """The kernel's present run."""
        return self._boot_id

    def find(self, volume_id: str) -> StageRecord | None:
        """Raises CorruptRecord (naming the file) when there is one that cannot be read."""
        return self._read(self._path(volume_id), volume_id)

    def known(self, volume_id: str) -> StageRecord | None:
        """What this process remembers of the record, without a look at the disk."""
        with self._guard:
            known = self._known.get(volume_id)
        return known[1] if known else None

    def save(self, record: StageRecord, *, frees: bool = False, this_boot: bool = False) -> StageRecord:
        """Store the record so that it survives the loss of power right afterwards.

        Args:
            frees: on the way to unstage, which has to go on when the disk is full.
            this_boot: what changed is of use only as long as the kernel runs, as mounts and paths of devices are. It survives the
                end of this process; after the loss of power the record may be the previous one.

        Raises:
            HostError: it could not be stored; the previous one is still there.
        """
        record = replace(record, boot_id=self._boot_id)
        path, content = self._path(record.volume_id), encode(record, self._vault)
        with kernel.named(f"storing the stage record of volume {record.volume_id} in {self.directory}"):
            if frees:
                self._reserve.run(lambda: self._write(path, content, this_boot=this_boot))
            else:
                self._write(path, content, this_boot=this_boot)
        return self._remember(content, record)

    def _without_plain_secrets(self, record: StageRecord) -> tuple[bytes, StageRecord]:
        """Store a record again whose secrets an earlier version stored in plain. One that cannot be stored now is as useful as before.

        Returns:
            what counts of it now. Raises OSError where it cannot be read.
        """
        path = self._path(record.volume_id)
        durable, content = kernel.read(str(path)), self._content(path)
        if content == durable:  # an earlier start may have ended before it removed changes that count no more
            self._amendments.forget(path.name)
        if not (exposes_secrets(durable) or exposes_secrets(content)):
            return content, record
        try:
            hidden = encode(record, self._vault)
            self._reserve.run(lambda: self._write(path, hidden, this_boot=False))
        except (OSError, HostError) as error:
            _log.warning("volume %s: its stage record keeps secrets in plain: %s", record.volume_id, error)
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
        """Change a stored record for this process alone: `find` answers it until the record is saved, or its file changes.

        For what a later process finds out by itself, or does not need.
        """
        with self._guard:
            known = self._known.get(record.volume_id)
        if known is None:
            return self.save(record, this_boot=True)
        return self._remember(known[0], replace(record, boot_id=self._boot_id))

    def remove(self, volume_id: str) -> None:
        """Forget the volume for good; nothing happens when it is forgotten already."""
        if self.growth.forget(volume_id):
            _log.error("volume %s: the growth of its file system did not end, and cannot be undone any more", volume_id)
        path = self._path(volume_id)
        with kernel.named(f"removing the stage record of volume {volume_id}"):
            durable_files.remove(path)
            self._amendments.forget(path.name)
        self._reserve.fill()
        with self._guard:
            self._known.pop(volume_id, None)

    def all(self) -> AllRecords:
        """Every record there is."""
        records, corrupt = [], []
        for path in sorted(self.directory.glob(f"*{_SUFFIX}")):
            try:
                if record := self._read(path, path.stem):
                    records.append(record)
            except CorruptRecord as error:
                corrupt.append(error)
        return AllRecords(tuple(records), tuple(corrupt))

    def forget_old_marks(self, now: float) -> None:
        """Remove what is noted of volumes that have no record and were here long before `now` (seconds since 1970)."""
        in_use = {path.stem for path in self.directory.glob(f"*{_SUFFIX}")}
        self.formatted.prune(now, in_use=in_use)
        self.attachments.prune(now - KEPT_SECONDS, in_use=in_use)

    def owner_of(self, wwid: str, *, other_than: str) -> str:
        """The volume, other than that one, whose record names this device; "" when none does."""
        owners = (
            record.volume_id for record in self.others(other_than) if record.device and record.device.wwid == wwid
        )
        return next(owners, "") if wwid else ""

    def staged_at(self, path: str, *, other_than: str) -> str:
        """The volume, other than that one, whose record names this staging path; "" when none does."""
        return next((record.volume_id for record in self.others(other_than) if record.staging_path == path), "")

    def others(self, volume_id: str) -> tuple[StageRecord, ...]:
        """Those of all volumes but that one, as this process knows them."""
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
            raise HostError(f"reading {path}: {error.strerror}") from error
        with self._guard:
            known = self._known.get(volume_id)
        if known and known[0] == content:
            return known[1]
        return self._decoded(content, path, volume_id)  # not remembered: the caller may hold no lock

    def _content(self, path: Path) -> bytes:
        """What counts of a record that is there. Raises OSError."""
        return self._amendments.latest(path.name, lambda: kernel.read(str(path)))

    def _decoded(self, content: bytes, path: Path, volume_id: str) -> StageRecord:
        try:
            record = decode(content, self._vault)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidRequest) as error:
            problem = error if isinstance(error, (ValueError, InvalidRequest)) else f"{type(error).__name__} {error}"
            raise CorruptRecord("stage", volume_id, f"{path}: {problem}") from None
        if self._path(record.volume_id) != path:
            raise CorruptRecord("stage", volume_id, f"{path} is about volume {record.volume_id!r}")
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
