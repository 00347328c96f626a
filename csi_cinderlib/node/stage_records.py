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
from csi_cinderlib.node.format_marks import FormatMarks
from csi_cinderlib.node.growth import Growth
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.stage_record import StageRecord, decode, encode

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

    Attributes:
        formatted: the marks that outlive a record, below `state_dir/formatted`.
        growth: of unmounted file systems, with undo files below `state_dir/growth`.
    """

    def __init__(self, state_dir: Path, names: Paths | None = None) -> None:
        self._names = names or Paths()
        self.directory = state_dir / "stage"
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._devices: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        self._guard = threading.Lock()
        with kernel.named(f"preparing {self.directory}"):
            durable_files.prepare(self.directory)
        self._reserve = Reserve(state_dir / "stage-reserve")
        self._reserve.fill()
        self.formatted = FormatMarks(state_dir / "formatted")
        self.growth = Growth(state_dir / "growth", self._boot_id)
        for record in self.all().records:
            self._note(record)

    @property
    def boot_id(self) -> str:
        """The kernel's present run."""
        return self._boot_id

    def find(self, volume_id: str) -> StageRecord | None:
        """Raises CorruptRecord (naming the file) when there is one that cannot be read."""
        return self._read(self._path(volume_id), volume_id)

    def save(self, record: StageRecord, *, frees: bool = False) -> StageRecord:
        """Store the record so that it survives the loss of power right afterwards.

        Args:
            frees: on the way to unpublish or unstage, which has to go on when the disk is full.

        Raises:
            HostError: it could not be stored; the previous one is still there.
        """
        record = replace(record, boot_id=self._boot_id)
        with kernel.named(f"storing the stage record of volume {record.volume_id} in {self.directory}"):
            if frees:
                self._reserve.run(lambda: durable_files.store(self._path(record.volume_id), encode(record)))
            else:
                durable_files.store(self._path(record.volume_id), encode(record))
        self._note(record)
        return record

    def remove(self, volume_id: str) -> None:
        """Forget the volume for good; nothing happens when it is forgotten already."""
        if self.growth.forget(volume_id):
            _log.error("volume %s: the growth of its file system did not end, and cannot be undone any more", volume_id)
        with kernel.named(f"removing the stage record of volume {volume_id}"):
            durable_files.remove(self._path(volume_id))
        self._reserve.fill()
        with self._guard:
            self._devices.pop(volume_id, None)
            self._paths.pop(volume_id, None)

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
        """Remove marks of volumes that have no record and were formatted long before `now` (seconds since 1970)."""
        self.formatted.prune(now, in_use={path.stem for path in self.directory.glob(f"*{_SUFFIX}")})

    def owner_of(self, wwid: str, *, other_than: str) -> str:
        """The volume, other than that one, whose record names this device; "" when none does."""
        with self._guard:
            owners = (volume for volume, known in self._devices.items() if known == wwid and volume != other_than)
            return next(owners, "") if wwid else ""

    def staged_at(self, path: str, *, other_than: str) -> str:
        """The volume, other than that one, whose record names this staging path; "" when none does."""
        with self._guard:
            return next((id for id, known in self._paths.items() if known == path and id != other_than), "")

    def _note(self, record: StageRecord) -> None:
        with self._guard:
            self._devices[record.volume_id] = record.device.wwid if record.device else ""
            self._paths[record.volume_id] = record.staging_path

    def _read(self, path: Path, volume_id: str) -> StageRecord | None:
        try:
            record = decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"reading {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, InvalidRequest) as error:
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
