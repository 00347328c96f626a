"""What an imported object certainly is: the place that contains it, and an id that neither a new name nor a new configuration changes.

Known for the drivers that find volumes by name (`loading.finds_by_name`): any object can get a name. Drivers of this project have the method
`identify_existing`; brick/local_dev/lvm.py and rbd.py of Cinder 29 were examined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csi_cinderlib.backend.verbs import BY_NAME
from csi_cinderlib.errors import PreconditionFailed

RELEASING = frozenset(("terminate_connection", "remove_export", "get_manageable_volumes", "get_manageable_snapshots"))
"""Methods that touch no data: a node can always let go of a volume."""

_OF_SNAPSHOTS = frozenset(("delete_snapshot", "delete_group_snapshot", "create_volume_from_snapshot"))
"""Methods that touch only what has the id of the snapshot in its name, whatever became of the volume."""

_SIZED = frozenset(
    ("extend_volume", "create_cloned_volume", "create_snapshot", "create_group_snapshot", "revert_to_snapshot")
)
"""Methods that take the size of the record for that of the object. Some drivers then cut off what is beyond it."""


def of(driver: Any, subject: Any, name: str) -> Mapping[str, str]:
    """The `place` and `object_id` of a volume with this name on the back end; nothing if the driver is not known. May raise any exception.

    Args:
        subject: Cinder's object. The id is not known for snapshots.
    """
    is_volume = getattr(subject, "volume", None) is None
    if own := getattr(driver, "identify_existing", None):
        told: Mapping[str, str] = own(subject, name)
        return told
    for describe in (_of_lvm, _of_rbd):
        if found := describe(driver, name if is_volume else ""):
            return found
    return {}


def place_of(driver: Any, subject: Any) -> str:
    """The place in which the driver would look for the object now; "" if unknown."""
    return str(of(driver, subject, "").get("place", ""))


def check(driver: Any, method: str, arguments: Any) -> None:
    """Check that each static volume in a call is the object that was imported. An object that is missing is the driver's to report.

    Raises:
        PreconditionFailed: it is another object, in another place, or larger than its record.
    """
    if method in RELEASING:
        return
    for subject in _static(arguments):
        wanted = {"place": subject.place, "object_id": subject.object_id}
        if not all(wanted.values()):
            if subject.status in ("creating", "managing"):
                continue  # its import has not found out yet
            raise PreconditionFailed(f"volume {subject.id!r} has no record of which object it is; undo its import")
        found = of(driver, subject, subject.name)
        is_free = found.get("object_id") == "" or method in _OF_SNAPSHOTS
        if found.get("place") == subject.place and is_free:
            continue
        if found != wanted:
            raise PreconditionFailed(
                f"{subject.name!r} is not the object that was imported as volume {subject.id!r}: it was replaced, or the options of the "
                "back end mean another place; restore it, or undo the import"
            )
        if method in _SIZED:
            _check_size(driver, subject)


def _check_size(driver: Any, subject: Any) -> None:
    """Others may have extended a volume that is not managed. Raises PreconditionFailed."""
    size = driver.manage_existing_get_size(subject, {BY_NAME: subject.name})
    if size > subject.size:
        raise PreconditionFailed(
            f"{subject.name!r} has {size} GiB, but volume {subject.id!r} has {subject.size} GiB: it was extended by others; expand the "
            f"volume to at least {size} GiB first"
        )


def _static(arguments: Any) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, list | tuple):
            yield from _static(argument)
        elif hasattr(argument, "is_static"):
            yield from (
                item for item in (argument, getattr(argument, "volume", None)) if getattr(item, "is_static", False)
            )


def _of_lvm(driver: Any, name: str) -> Mapping[str, str] | None:
    group: Any = getattr(driver, "vg", None)
    if not hasattr(group, "get_all_volume_groups"):
        return None
    place = str(group.get_all_volume_groups(group._root_helper, group.vg_name)[0]["uuid"])
    if not name:
        return {"place": place, "object_id": ""}
    # As `get_volumes` of brick's LVM, which does not ask for the id. With a selection, a missing volume is an empty answer.
    command = [*group.LVM_CMD_PREFIX, "lvs", "--noheadings", "-o", "lv_uuid", "--select", f"lv_name={name}"]
    answer, _ = group._run_lvm_command([*command, group.vg_name])
    return {"place": place, "object_id": answer.strip()}


def _of_rbd(driver: Any, name: str) -> Mapping[str, str] | None:
    import sys

    module: Any = sys.modules.get("cinder.volume.drivers.rbd")
    if module is None or not isinstance(driver, module.RBDDriver):
        return None
    with module.RADOSClient(driver) as client:
        place = f"{client.cluster.get_fsid()}/{client.ioctx.get_pool_id()}"
        if not name:
            return {"place": place, "object_id": ""}
        try:
            with module.RBDVolumeProxy(
                driver, name, read_only=True, client=client.cluster, ioctx=client.ioctx
            ) as image:
                return {"place": place, "object_id": str(image.id())}
        except driver.rbd.ImageNotFound:
            return {"place": place, "object_id": ""}
