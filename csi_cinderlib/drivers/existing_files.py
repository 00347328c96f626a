"""Files that exist already as volumes and snapshots of the file driver: list, measure and rename them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cinder import exception
from cinder.volume import volume_utils
from oslo_config import cfg

from csi_cinderlib.drivers import file_ids, sparse, usage
from csi_cinderlib.drivers.directories import Directory
from csi_cinderlib.drivers.wording import in_words
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel, sectors
from csi_cinderlib.model.size import BYTES_PER_GIB

Reference = Mapping[str, str]
_IMAGES = {
    b"QFI\xfb": "qcow2", b"KDMV": "VMDK", b"COWD": "VMDK", b"conectix": "VHD", b"vhdxfile": "VHDX", b"QED\0": "QED",
}  # fmt: skip
"""Signatures at the beginning of disk images whose content is not the content of the disk."""
_VDI, _VDI_AT = b"\x7f\x10\xda\xbe", slice(64, 68)


class ExistingFiles:
    """The methods of Cinder's interface for existing objects. A reference is `{"source-name": FILE}`, a file of the volume's pool."""

    _pools: dict[str, Directory]

    def _assigned_pool(self, volume: Any) -> Directory:
        """The pool of the volume's host."""
        raise NotImplementedError

    def _find_pool(self, volume: Any) -> Directory:
        """The pool that contains the volume."""
        raise NotImplementedError

    # Volumes

    def manage_existing(self, volume: Any, existing_ref: Reference) -> None:
        """Rename the file to the volume's name and extend it to whole GiB."""
        _take_over(self._pool_of(volume), volume, existing_ref)

    def manage_existing_get_size(self, volume: Any, existing_ref: Reference) -> int:
        return _whole_gib(_length(self._pool_of(volume), existing_ref))

    def get_manageable_volumes(
        self, cinder_volumes: Iterable[Any], marker: Any, limit: int, offset: int, sort_keys: list[str], sort_dirs: list[str]
    ) -> list[Any]:  # fmt: skip
        entries = list(self._entries(cinder_volumes, snapshots=False))
        return list(volume_utils.paginate_entries_list(entries, marker, limit, offset, sort_keys, sort_dirs))

    # Snapshots

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Reference) -> None:
        """Rename the file to the snapshot's name and extend it to whole GiB."""
        _take_over(self._pool_of_snapshot(snapshot, existing_ref), snapshot, existing_ref)

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: Reference) -> int:
        return _whole_gib(_length(self._pool_of_snapshot(snapshot, existing_ref), existing_ref))

    def unmanage_snapshot(self, snapshot: Any) -> None:
        """Nothing to do, as for volumes."""

    def get_manageable_snapshots(
        self, cinder_snapshots: Iterable[Any], marker: Any, limit: int, offset: int, sort_keys: list[str], sort_dirs: list[str]
    ) -> list[Any]:  # fmt: skip
        entries = list(self._entries(cinder_snapshots, snapshots=True))
        return list(volume_utils.paginate_entries_list(entries, marker, limit, offset, sort_keys, sort_dirs))

    # Both

    def existing_details(self, subject: Any, existing_ref: Reference) -> dict[str, Any]:
        """The other fields of `verbs.Measured`. Not a method of Cinder."""
        volume = getattr(subject, "volume", None)
        pool = self._pool_of(subject) if volume is None else self._pool_of_snapshot(subject, existing_ref)
        name = _name(pool, existing_ref)
        problem, is_seen = _problem(pool.file(name), is_kept=_is_half_renamed(pool.file(name), pool.file(subject.name)))
        return {
            "length": _length(pool, existing_ref),
            "place": pool.id,
            "object_id": file_ids.of(pool.file(name)),
            "checked": True,
            "unseen": not is_seen,
            "problem": problem,
            "columns": geometry(_sectors_of_content(pool.file(name))) if volume is None else {},
        }

    def identify_existing(self, subject: Any, name: str) -> dict[str, str]:
        """See `cinder.identity.of`. Not a method of Cinder."""
        pool = self._pool_of(subject)
        with in_words(f"cannot look up {name}"):
            is_there = bool(name) and pool.holds(name)
            return {"place": pool.id, "object_id": file_ids.of(pool.file(name)) if is_there else ""}

    def _pool_of(self, subject: Any) -> Directory:
        """The only pool in which an imported object can be, whatever its name is now; that of the volume before the import."""
        if place := place_of(subject):
            return self._pool_with_id(place)
        name = pool_name(getattr(subject, "volume", None) or subject)
        return self._pools[name] if name in self._pools else self._assigned_pool(subject)

    def _pool_with_id(self, id: str) -> Directory:
        found = next((pool for pool in self._pools.values() if pool.id == id), None)
        if found is None:
            reason = f"no directory of this back end is pool {id}; add that directory to loopfile_directories again"
            raise exception.VolumeBackendAPIException(data=reason)
        return found

    def _pool_of_snapshot(self, snapshot: Any, reference: Reference) -> Directory:
        """The pool that holds the file, since a snapshot outlives its volume; else that of the volume. Raises WrongPool."""
        if place := place_of(snapshot):
            return self._pool_with_id(place)
        name = reference.get("source-name", "")
        own = pool_name(snapshot.volume)
        pools = sorted(self._pools.values(), key=lambda pool: pool.name != own)
        with in_words(f"cannot look up {name}"):
            holders = [pool for pool in pools if _is_file_name(name) and pool.holds(name)]
        return holders[0] if holders else pools[0]

    def _entries(self, known: Iterable[Any], *, snapshots: bool) -> Iterator[dict[str, Any]]:
        """Cinder's description of each file; the names of snapshots tell them from volumes."""
        ids = {(_place_of_name(item), item.name): item.id for item in known}
        prefix = cfg.CONF.snapshot_name_template.partition("%")[0]
        for pool in self._pools.values():
            for name, size in pool.files():
                if name.startswith(prefix) is not snapshots:
                    continue
                id = ids.get(("", name)) or ids.get((pool.id, name))
                problem, is_seen = ("already managed", True) if id else _problem(pool.file(name), is_kept=True)
                yield {
                    "reference": {"source-name": name},
                    "size": _whole_gib(size),
                    "safe_to_manage": not problem,
                    "reason_not_safe": problem or None,
                    "cinder_id": id,
                    "extra_info": f"pool {pool.name}" + ("" if is_seen else "; use by others cannot be seen"),
                    "place": pool.id,
                    "source_reference": None,
                }


def _place_of_name(item: Any) -> str:
    """The id of the pool in which the name is unique; "" for a name that contains an id."""
    return place_of(item) if own_name(item) else ""


def geometry(sector_size: int) -> dict[str, str]:
    """The column for the sector size of a volume; none for the usual size."""
    return {} if sector_size == devices.BLOCK_SIZE else {"provider_geometry": str(sector_size)}


def _sectors_of_content(path: str) -> int:
    """The sector size that the content of a file needs, for good: content that a user writes later must not change it."""
    with kernel.opened(path, os.O_RDONLY) as fd:
        return sectors.needed(os.pread(fd, sectors.HEAD, 0), devices.BLOCK_SIZE)


def _take_over(pool: Directory, subject: Any, reference: Reference) -> None:
    name = _name(pool, reference)
    if name != subject.name and _is_managed(name):
        raise exception.ManageExistingAlreadyManaged(volume_ref=name)
    path = pool.file(name)
    with in_words(f"cannot manage {name} in pool {pool.name!r}"):
        problem, _ = _problem(path, is_kept=_is_half_renamed(path, pool.file(subject.name)))
        if problem:
            raise exception.InvalidVolume(reason=f"{path}: {problem}")
        if name != subject.name:
            pool.rename(name, subject.name)
        if (
            getattr(subject, "volume", None) is None
        ):  # after the rename, which may be refused; a repeated call completes it
            pool.resize(subject.name, _whole_gib(Path(pool.file(subject.name)).stat().st_size) * BYTES_PER_GIB)


def _is_half_renamed(path: str, other: str) -> bool:
    """Whether both are names of one file, as an interrupted renaming leaves them."""
    return path != other and os.path.lexists(other) and Path(path).samefile(other)


def _is_managed(name: str) -> bool:
    """Whether the file has the name of a known volume."""
    return bool(volume_utils.check_already_managed_volume(volume_utils.extract_id_from_volume_name(name)))


def _name(pool: Directory, reference: Reference) -> str:
    """The file of a reference. Raises ManageExistingInvalidReference."""
    name = reference.get("source-name", "")
    with in_words(f"cannot look up {name}"):
        pool.check()  # a missing pool does not mean a missing file
    if not _is_file_name(name):
        reason = "source-name must be the name of a file in the pool's directory"
    elif not sparse.is_plain_file(pool.file(name)):
        reason = f"{pool.file(name)} is not a regular file"
    else:
        return name
    raise exception.ManageExistingInvalidReference(existing_ref=dict(reference), reason=reason)


def _is_file_name(name: str) -> bool:
    return bool(name) and "/" not in name and not name.startswith(".")


def own_name(item: Any) -> str:
    """The name that a static import kept, or "" (see `cinder.convert`)."""
    return str(getattr(item, "own_name", ""))


def place_of(item: Any) -> str:
    """The id of the pool from which it was imported, or "" (see `cinder.convert`)."""
    return str(getattr(item, "place", ""))


def pool_name(volume: Any) -> str:
    """The recorded pool, or ""."""
    return (volume_utils.extract_host(volume.host, level="pool") or "") if volume.host else ""


def _length(pool: Directory, reference: Reference) -> int:
    return Path(pool.file(_name(pool, reference))).stat().st_size


def _whole_gib(length: int) -> int:
    return max(1, -(-length // BYTES_PER_GIB))


def _problem(path: str, *, is_kept: bool = False) -> tuple[str, bool]:
    """Why the file must not be imported, as a clause, or "", and whether every use of it can be seen.

    Args:
        is_kept: it has its new name already, perhaps beside the former one.
    """
    try:
        with kernel.opened(path, os.O_RDONLY) as fd:
            head, names = os.pread(fd, 4096, 0), os.fstat(fd).st_nlink
        if names > 1 and not is_kept:
            return f"the file has {names} names (hard links)", True
        if kind := _image_kind(head):
            return f"it is a disk image in the format {kind}; convert it to raw first", True
        found = usage.look(path)
    except (HostError, OSError) as error:
        return f"not readable: {error}", True
    return found.problem, found.is_seen


def _image_kind(head: bytes) -> str:
    if head[_VDI_AT] == _VDI:
        return "VDI"
    return next((kind for signature, kind in _IMAGES.items() if head.startswith(signature)), "")
