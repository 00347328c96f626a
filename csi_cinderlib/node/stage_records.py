"""The directory of stage records: atomic, durable, private to root."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from csi_cinderlib.errors import CorruptRecord, HostError, InvalidRequest
from csi_cinderlib.host import kernel
from csi_cinderlib.node.stage_record import StageRecord, decode, encode

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SUFFIX = ".json"
_UNFINISHED = ".new"


@dataclass(frozen=True, slots=True)
class AllRecords:
    """Every record of this node; `corrupt` names those that cannot be read, with the reason."""

    records: tuple[StageRecord, ...]
    corrupt: tuple[CorruptRecord, ...]


class StageRecords:
    """The stage records below `state_dir/stage`. Callers hold the volume's lock for whatever they save or remove."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "stage"
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._devices: dict[str, str] = {}
        self._guard = threading.Lock()
        with kernel.named(f"preparing {self.directory}"):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self.directory.glob(f"*{_UNFINISHED}"):  # a crash while writing: the old record still counts
                left.unlink()
        for record in self.all().records:
            self._note(record)

    @property
    def boot_id(self) -> str:
        """The kernel's present run."""
        return self._boot_id

    def find(self, volume_id: str) -> StageRecord | None:
        """Raises CorruptRecord (naming the file) when there is one that cannot be read."""
        return self._read(self._path(volume_id), volume_id)

    def save(self, record: StageRecord) -> StageRecord:
        """Store the record so that it survives the loss of power right afterwards.

        Raises:
            HostError: it could not be stored; the previous one is still there.
        """
        record = replace(record, boot_id=self._boot_id)
        path = self._path(record.volume_id)
        unfinished = path.with_name(path.name + _UNFINISHED)
        with kernel.named(f"storing the stage record of volume {record.volume_id}"):
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(encode(record))
                    file.flush()
                    os.fsync(fd)
                unfinished.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise
            self._sync()
        self._note(record)
        return record

    def remove(self, volume_id: str) -> None:
        """Forget the volume for good; nothing happens when it is forgotten already."""
        with kernel.named(f"removing the stage record of volume {volume_id}"):
            self._path(volume_id).unlink(missing_ok=True)
            self._sync()
        with self._guard:
            self._devices.pop(volume_id, None)

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

    def owner_of(self, wwid: str, *, other_than: str) -> str:
        """The volume, other than that one, whose record names this device; "" when none does."""
        with self._guard:
            owners = (volume for volume, known in self._devices.items() if known == wwid and volume != other_than)
            return next(owners, "") if wwid else ""

    def _note(self, record: StageRecord) -> None:
        with self._guard:
            self._devices[record.volume_id] = record.device.wwid if record.device else ""

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
        return record

    def _path(self, volume_id: str) -> Path:
        plain = _PLAIN_NAME.fullmatch(volume_id) and not volume_id.startswith("sha256-")
        return self.directory / ((volume_id if plain else _hashed(volume_id)) + _SUFFIX)

    def _sync(self) -> None:
        with kernel.opened(str(self.directory), os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)


def _hashed(volume_id: str) -> str:
    import hashlib  # brings OpenSSL's 3 MB, and our own ids are plain

    return f"sha256-{hashlib.sha256(volume_id.encode()).hexdigest()}"
