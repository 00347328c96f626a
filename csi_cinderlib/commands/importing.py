"""Parts of the commands that import existing volumes and snapshots through the running controller."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from csi_cinderlib.commands import options, output, running
from csi_cinderlib.errors import ConfigurationError, InUse, InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.kubernetes.rest import Client

R = TypeVar("R")
SECONDS = 600.0
"""Time limit for a driver to take an object over."""
GONE_SECONDS = 30.0
"""Time limit for Kubernetes to let the removed objects go."""
Json = dict[str, Any]


def common(callback: options.Callback) -> options.Callback:
    """Add the arguments and options of both commands."""
    for option in (
        click.option("--undo", is_flag=True, help="Give the object up: it stays on the back end, and its record and Kubernetes objects are removed."),
        click.option("--dry-run", is_flag=True, help="Only check, and print what would be done."),
        click.option("--manifests", is_flag=True, help="Print the Kubernetes objects as YAML instead of creating them."),
        click.option("--id", "by_id", is_flag=True, help="NAME is an id that the array assigned."),
        click.option("--list", "listing", is_flag=True, help="List the objects that can be imported, if the driver can list them."),
        click.argument("name", default=""),
        click.argument("backend", shell_complete=options.complete_backend),
    ):  # fmt: skip
        callback = option(callback)
    return output.formatted(options.configuration(callback))


def print_candidates(settings: Settings, kind: str, backend: str, format: output.Format) -> int:
    """List the driver's candidates."""
    answer = running.request(settings, "GET", f"/manageable/{kind}/{quote(backend, safe='')}", patience=SECONDS)
    rows = [
        {
            "name": next(iter(item["reference"].values()), ""),
            "gib": item["size"],
            "importable": "no" if item["problem"] else "yes",
            "reference": item["reference"],
            "source": item["source"],
            "remark": item["remark"],
            "problem": item["problem"],
        }
        for item in answer["found"]
    ]
    output.print_rows(
        rows, format, columns=("name", "gib", "importable", "remark", "problem"), wide=("reference", "source"),
        nothing=f"no {kind}s that could be imported",
    )  # fmt: skip
    return 0


def post(settings: Settings, path: str, body: Mapping[str, object]) -> Json:
    return running.request(settings, "POST", f"/imports/{path}", body, patience=SECONDS)


def decoded(kind: type[R], answer: Mapping[str, Any]) -> R:
    """The record of an answer."""
    from csi_cinderlib.persistence import codec

    body = answer["record"]
    record: R = codec.decode(kind, body, id=str(body.get("id", "")), sealer=codec.UNOPENED)  # type: ignore[type-var]
    return record


@contextmanager
def cluster(settings: Settings) -> Iterator[Client]:
    """A client of the cluster. Raises InvalidRequest: there is none."""
    from csi_cinderlib.inspection import cluster_view

    try:
        client = cluster_view.reach(settings)
    except ConfigurationError as error:
        raise InvalidRequest("--manifests", f"is needed where no cluster can be reached: {error}") from error
    try:
        yield client
    finally:
        client.close()


def print_manifests(objects: Sequence[Json]) -> None:
    import yaml

    output.print_text(yaml.safe_dump_all(objects, sort_keys=False), end="")


def tell(text: str) -> None:
    """To standard error, which leaves standard output to the manifests."""
    output.print_text(text, sys.stderr, flush=True)


def undo(settings: Settings, kind: str, body: Mapping[str, Any], *, holders: Sequence[str], in_cluster: bool) -> int:
    """Remove the Kubernetes objects of an import, and give the object up once they are gone. Can be repeated.

    Args:
        holders: kinds of cluster-wide objects that an import makes.
        in_cluster: whether there is a cluster.

    Raises:
        InUse: a Kubernetes object is still in use.
    """
    name, backend = body["name"], body["backend"]
    checked = post(settings, f"{kind}/undo", {**body, "dry_run": True})
    if body["dry_run"] and checked["record"]:
        tell(f"would give {kind} {checked['record']['id']} up: {name} stays on back end {backend}")
        return 0
    if in_cluster and not body["dry_run"]:
        remove_objects(settings, holders, checked["ids"])
    if not checked["record"]:
        tell(f"{kind} {name} of back end {backend} was already given up")
        return 0
    answer = post(settings, f"{kind}/undo", body)
    now = answer["name"] or "a name that the driver chose"
    tell(f"{kind} {answer['record']['id']} given up; on back end {backend} it is {now}")
    return 0


def remove_objects(settings: Settings, holders: Sequence[str], ids: Sequence[str]) -> None:
    """Remove the objects, and wait until they are gone. Raises InUse."""
    from csi_cinderlib.app import imported_claims

    end = time.monotonic() + GONE_SECONDS
    with cluster(settings) as client:
        while True:
            removed = imported_claims.remove(client, holders, settings.driver_name, ids)
            for shown in removed.asked:
                tell(f"removed: {shown}")
            if not removed.left:
                return
            if time.monotonic() > end:
                raise InUse(
                    f"{', '.join(removed.left)} still exists; nothing was given up: delete what uses it, and repeat the command"
                )
            time.sleep(1)


def create_objects(settings: Settings, make: Callable[[Client], Sequence[Json]], *, dry_run: bool) -> None:
    """Create the objects of an import, or let the API server check them. Raises AlreadyExists, PreconditionFailed."""
    from csi_cinderlib.app import imported_claims

    with cluster(settings) as client:
        for shown in imported_claims.create(client, make(client), dry_run=dry_run):
            if not dry_run:
                tell(f"created: {shown}")


def require_name(name: str) -> None:
    """Raises InvalidRequest."""
    if not name:
        raise InvalidRequest("NAME", "must be the name of an object on the back end; --list shows them")
