"""Compares existing objects with requests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Source, Volume
from csi_cinderlib.model.requests import CreateSnapshot, CreateVolume
from csi_cinderlib.provisioning import access
from csi_cinderlib.provisioning.ranking import reachable


def check_same(volume: Volume, request: CreateVolume, *, topology: Mapping[str, str]) -> None:
    """Check that the volume matches `request` (spec: CreateVolume, ALREADY_EXISTS).

    Labels are never compared: the provisioner adds the name of the claim, and a volume may be requested with or without it.

    Args:
        topology: segments from which the back end of the volume can be reached; empty means everywhere.

    Raises:
        AlreadyExists: with the first difference.
    """
    if difference := next(filter(None, _differences(volume, request, topology)), ""):
        raise AlreadyExists("volume", request.name, difference)


def _differences(volume: Volume, request: CreateVolume, topology: Mapping[str, str]) -> Iterator[str]:
    if not request.size.accepts(volume.size):
        yield f"its size is {volume.size} GiB, but {request.size.required} bytes were requested" + (
            f" (at most {request.size.limit})" if request.size.limit else ""
        )
    if volume.source != request.source:
        yield f"it was created from {_source_text(volume.source)}, but {_source_text(request.source)} was requested"
    yield _capability_difference(volume, request)
    if keys := mapping_difference(volume.parameters, request.parameters.given):
        yield f"parameters differ in {keys}"
    if keys := mapping_difference(volume.mutable_parameters, request.mutable_parameters):
        yield f"mutable parameters differ in {keys}"
    if not reachable(topology, request.topology):
        yield f"it can be reached only from {dict(topology)}"


def _capability_difference(volume: Volume, request: CreateVolume) -> str:
    """Every volume supports all single-node modes. Volumes differ only in the file system and in multi-node access."""
    have = {access.file_system(capability) for capability in volume.capabilities}
    for capability in request.capabilities:
        wanted = access.file_system(capability)
        if have and wanted not in have:
            return f"it was created for {_use_text(have)}, but {_use_text({wanted})} was requested"
    return access.unsupported(volume, request.capabilities)


def _use_text(file_systems: set[str]) -> str:
    return " or ".join(f"file system {name}" if name else "raw block" for name in sorted(file_systems))


def _source_text(source: Source | None) -> str:
    return f"{source.kind} {source.id}" if source else "no source"


def mapping_difference(have: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """The keys that differ, sorted. Values are not shown, because parameters may be private."""
    return ", ".join(sorted(key for key in have.keys() | wanted.keys() if have.get(key) != wanted.get(key)))


def check_same_snapshot(snapshot: Snapshot, request: CreateSnapshot) -> None:
    """Raises AlreadyExists if the snapshot of that name belongs to another volume."""
    if snapshot.volume_id != request.volume_id:
        raise AlreadyExists("snapshot", request.name, f"it is a snapshot of volume {snapshot.volume_id}")


def check_same_group_snapshot(found: GroupSnapshot, wanted: GroupSnapshot) -> None:
    """Raises AlreadyExists if the group snapshot has other volumes or parameters."""
    if set(found.volume_ids) != set(wanted.volume_ids):
        volumes = ", ".join(found.volume_ids)
        raise AlreadyExists("group snapshot", wanted.name, f"it is a snapshot of volumes {volumes}")
    if keys := mapping_difference(found.parameters, wanted.parameters):
        raise AlreadyExists("group snapshot", wanted.name, f"parameters differ in {keys}")
