"""`csi-cinderlib import-volume`: takes an existing volume over, with its PersistentVolume and claim, or gives it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import importing, options, output
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.provisioning.imported_objects import Name, Use

MODES = ("ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany")
_HOLDERS = ("PersistentVolume",)


@click.command(
    epilog="The running controller does this, so run the command beside it. NAME is the name on the back end. The volume keeps its data "
    "and is never formatted. Most drivers rename it; with --static it keeps its name and is never deleted. A repeated command finishes an "
    "interrupted one.",
)
@importing.common
@click.option("--claim", metavar="NAMESPACE/NAME", default="", help="Create this claim, or use it if it exists, with a PersistentVolume.")  # fmt: skip
@click.option("--storage-class", metavar="NAME", default="", help="Storage class of both. [default: none]")
@click.option("--access-mode", "modes", metavar="MODE", multiple=True, type=click.Choice(MODES), help=f"{', '.join(MODES)}; repeatable. [default: ReadWriteOnce]")  # fmt: skip
@click.option("--reclaim-policy", type=click.Choice(("Retain", "Delete")), default="Retain", metavar="POLICY", help="Retain or Delete. [default: Retain]")  # fmt: skip
@click.option("--block", is_flag=True, help="For use as a raw block device.")
@click.option("--fs-type", metavar="NAME", default="", help="The expected file system. [default: any]")
@click.option("--size", metavar="SIZE", default="", help="The expected size, such as 10Gi; another one is refused.")
@click.option("--round-up", is_flag=True, help="Let the driver extend a volume that is not whole GiB.")
@click.option("--pool", metavar="NAME", default="", help="Its pool; required if the back end has several.")
@click.option("--encryption", metavar="NAME", default="", help="luks2 for a volume that nodes of csi-cinderlib have encrypted. [default: none]")  # fmt: skip
@click.option(
    "--key-secret", metavar="NAMESPACE/NAME", default="", help="The Secret with the key of an encrypted volume."
)
@click.option("--unchecked", is_flag=True, help="Confirm that nothing uses the volume, for back ends that cannot tell.")
@click.option("--static", is_flag=True, help="Use it without managing it.")
def command(given: options.Given, format: output.Format, backend: str, name: str, **values: Any) -> int:
    """Raises InvalidRequest, and what `running.request` and the Kubernetes API raise."""
    settings = options.settings(given)
    if values["listing"]:
        return importing.print_candidates(settings, "volume", backend, format)
    importing.require_name(name)
    body = _body(backend, name, values)
    if values["undo"]:
        in_cluster = _is_in_cluster(settings, values)
        return importing.undo(settings, "volume", body, holders=_HOLDERS, in_cluster=in_cluster)
    return _import(settings, body, values)


def _import(settings: Any, body: dict[str, Any], values: dict[str, Any]) -> int:
    """Check everything, take the volume over, and create its objects."""
    from csi_cinderlib.app import imported_claims
    from csi_cinderlib.model.records import Status, Volume

    creates = bool(values["claim"]) and not values["manifests"]
    checked = importing.post(settings, "volume", {**body, "dry_run": True})
    use = _use(settings, values, checked)
    record = importing.decoded(Volume, checked)
    if creates:
        importing.create_objects(settings, lambda client: imported_claims.objects(client, record, use), dry_run=True)
    if values["dry_run"]:
        known = (
            f"{body['name']} is imported already, as volume {record.id}" if record.status is Status.AVAILABLE else ""
        )
        importing.tell(known or f"would import {body['name']} ({record.size} GiB)")
    else:
        record = importing.decoded(Volume, importing.post(settings, "volume", body))
        importing.tell(f"{body['name']} is volume {record.id} ({record.size} GiB)")
    if values["manifests"] and not values["dry_run"]:  # the id is not known before
        importing.print_manifests(imported_claims.objects(None, record, use))
    elif creates and not values["dry_run"]:
        importing.create_objects(settings, lambda client: imported_claims.objects(client, record, use), dry_run=False)
    return 0


def _body(backend: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The request. Raises InvalidRequest."""
    from csi_cinderlib.model.capability import find_unsupported
    from csi_cinderlib.model.encryption import find_unknown
    from csi_cinderlib.provisioning.imported_objects import ACCESS_MODES, Name, require_key

    for option, why in (
        ("--encryption", find_unknown(values["encryption"]) if values["encryption"] else ""),
        ("--fs-type", find_unsupported(values["fs_type"])),
    ):
        if why:
            raise InvalidRequest(option, why)
    require_key(values["encryption"], _key_secret(values), "--key-secret")
    if values["static"] and values["reclaim_policy"] == "Delete":
        raise InvalidRequest("--reclaim-policy", "must be Retain with --static: the volume is never deleted")
    claim = Name.parse(values["claim"], "--claim") if values["claim"] else None
    return {
        "backend": backend,
        "name": name,
        "by_id": values["by_id"],
        "static": values["static"],
        "unchecked": values["unchecked"],
        "pool": values["pool"],
        "size": _gib(values["size"]) if values["size"] else None,
        "round_up": values["round_up"],
        "block": values["block"],
        "fs_type": values["fs_type"],
        "encryption": values["encryption"],
        "access_modes": [str(ACCESS_MODES[mode]) for mode in values["modes"] or MODES[:1]],
        "labels": {"pvc/namespace": claim.namespace, "pvc/name": claim.name} if claim else {},
        "dry_run": values["dry_run"],
    }


def _use(settings: Any, values: dict[str, Any], answer: dict[str, Any]) -> Use:
    from csi_cinderlib.provisioning.imported_objects import Name, Use

    return Use(
        driver=settings.driver_name,
        claim=Name.parse(values["claim"], "--claim") if values["claim"] else None,
        storage_class=values["storage_class"],
        access_modes=values["modes"] or MODES[:1],
        block=values["block"],
        fs_type=values["fs_type"],
        reclaim_policy=values["reclaim_policy"],
        topology=answer["topology"],
        key_secret=_key_secret(values),
    )


def _key_secret(values: dict[str, Any]) -> Name | None:
    """Raises InvalidRequest."""
    from csi_cinderlib.provisioning.imported_objects import Name

    return Name.parse(values["key_secret"], "--key-secret") if values["key_secret"] else None


def _is_in_cluster(settings: Any, values: dict[str, Any]) -> bool:
    from csi_cinderlib.inspection import cluster_view

    return not values["manifests"] and (bool(values["claim"]) or cluster_view.is_expected(settings))


def _gib(size: str) -> int:
    """Raises InvalidRequest."""
    from csi_cinderlib.provisioning.imported_objects import bytes_of

    length = bytes_of(size)
    if not length or length % 1024**3:
        raise InvalidRequest("--size", f"must be whole GiB, such as 10Gi (got {size!r})")
    return length // 1024**3
