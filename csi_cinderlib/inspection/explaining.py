"""Collects the visible state of one volume and shows it as a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from csi_cinderlib.errors import CorruptRecord, DriverError, InvalidRequest, NotFound
from csi_cinderlib.inspection import description, host_view, rows
from csi_cinderlib.inspection.cluster_view import ClusterView
from csi_cinderlib.inspection.observed import BackendState, Claim, HostView, Observed
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.model import labels, nodes
from csi_cinderlib.model.records import Attachment, Node, Snapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk

UNKNOWN = "unknown"
"""Phase of a claim that is only known from a record, not from the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Sources of a volume's state.

    Attributes:
        cluster: opens the Kubernetes API; returns None without a cluster. Raises DriverError if the API cannot be reached.
        store: opens the metadata store and the node registry (None: not readable). Raises DriverError.
        backends: states of the back ends in the running driver.
        leftover: description of a possible leftover on the array under a volume's id, or "".
    """

    cluster: Callable[[], ClusterView | None]
    store: Callable[[], AbstractContextManager[tuple[Store, Store | None]]]
    backends: Callable[[Store], Iterable[BackendState]]
    leftover: Callable[[Store, str], str]
    state_dir: Path
    driver_name: str
    node_name: str = ""


def observe(asked: str, sources: Sources, now: datetime) -> Observed:
    """Collect the state of one volume.

    Raises:
        InvalidRequest: no volume matches, or several do.
    """
    seen = Observed(asked=asked, now=now, driver_name=sources.driver_name)
    view = _cluster(sources, seen_unseen := {})
    seen = _from_cluster(seen, view) if view is not None else seen
    try:
        with sources.store() as (store, registry):
            seen = _from_store(seen, store, registry, sources)
    except InvalidRequest:
        raise
    except DriverError as error:
        seen_unseen["store"] = str(error)
    if view is not None:
        seen = _after_store(seen, view)
        seen_unseen |= view.unseen
    volume_id = seen.record.id if seen.record else seen.pv.handle if seen.pv else "" if "/" in asked else asked
    if volume_id:
        seen = replace(seen, host=host_view.look(sources.state_dir, volume_id, name=sources.node_name))
    if seen.host is None:
        seen_unseen["host"] = (
            "this host is not a node of the driver; run the command on the node to examine the device and mounts"
        )
    if seen.backend is not None and seen.backend.state == "unknown":
        seen_unseen["back end"] = seen.backend.reason or "its state is unknown"
    seen = replace(seen, unseen=seen_unseen)
    _check_found(seen)
    return seen


def _cluster(sources: Sources, unseen: dict[str, str]) -> ClusterView | None:
    try:
        return sources.cluster()
    except DriverError as error:
        unseen["Kubernetes"] = str(error)
        return None


def _from_cluster(seen: Observed, view: ClusterView) -> Observed:
    """Add the claim and the PersistentVolume."""
    if "/" in seen.asked:
        namespace, _, name = seen.asked.partition("/")
        claim = view.claim(namespace, name)
        pv = view.pv(claim.volume_name) if claim is not None and claim.volume_name else None
        return replace(seen, claim=claim, pv=pv)
    return replace(seen, pv=view.pv(seen.asked))


def _after_store(seen: Observed, view: ClusterView) -> Observed:
    """Add the PersistentVolume and the claim of a volume that was given by its id, then the VolumeAttachments."""
    pv = seen.pv
    if pv is None and seen.record is not None:
        pv = (view.pv(seen.record.name) if seen.record.name else None) or view.pv_of_handle(
            seen.driver_name, seen.record.id
        )
    claim = seen.claim
    if claim is None or claim.phase == UNKNOWN:
        wanted = pv.claim if pv is not None else f"{claim.namespace}/{claim.name}" if claim is not None else ""
        namespace, _, name = wanted.partition("/")
        claim = (view.claim(namespace, name) if name else None) or claim
    return replace(seen, pv=pv, claim=claim, cluster_attachments=view.attachments(pv.name) if pv is not None else ())


def _from_store(seen: Observed, store: Store, registry: Store | None, sources: Sources) -> Observed:
    id = _volume_id(seen, store)
    seen = replace(seen, backends=tuple(sources.backends(store)))
    if not id:
        return seen
    try:
        record = store.get(Volume, id)
    except NotFound:
        return replace(seen, leftover=sources.leftover(store, id))
    except CorruptRecord as error:
        return replace(seen, record_problem=str(error))
    attachments = tuple(walk(store, Attachment, {"volume_id": record.id}))
    states = {backend.name: backend for backend in seen.backends}
    return replace(
        seen,
        record=record,
        attachments=attachments,
        snapshots=sum(1 for _ in walk(store, Snapshot, {"volume_id": record.id})),
        backend=states.get(record.backend, BackendState(name=record.backend)),
        registered=_registered(attachments, registry),
        leftover=sources.leftover(store, record.id),
        claim=seen.claim or _claim_of(record),
    )


def _volume_id(seen: Observed, store: Store) -> str:
    """The volume's id, or "". Raises InvalidRequest: several volumes match."""
    if seen.pv is not None and seen.pv.handle:
        return seen.pv.handle
    found = description.matching(store, Volume, seen.asked, seen.now)
    if len(found) > 1:
        listed = "\n".join(f"  {row['id']}  {row['claim']}  {row['status']}" for row in found)
        raise InvalidRequest(f"volume {seen.asked!r}", f"ambiguous; it matches:\n{listed}")
    return str(found[0]["id"]) if found else ""


def _claim_of(record: Volume) -> Claim | None:
    """The claim named in the record, which may no longer exist."""
    namespace, _, name = labels.claim(record.labels).partition("/")
    return Claim(namespace=namespace, name=name, phase=UNKNOWN, volume_name=record.name) if name else None


def leftover_in(store: Store, id: str) -> str:
    """Description of the leftover with that id in a store, or ""."""
    found = (leftover for _, leftover in leftovers.walk(store) if leftover is not None and leftover.id == id)
    return next((f"{leftover.name} on back end {leftover.backend!r}: {leftover.reason}" for leftover in found), "")


def _registered(attachments: Iterable[Attachment], registry: Store | None) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for attachment in attachments:
        with suppress(InvalidRequest):
            if registry is None or nodes.decode(attachment.node_id) is not None:
                continue
        try:
            found[attachment.node_id] = bool(registry.get(Node, attachment.node_id)) if registry is not None else True
        except NotFound:
            found[attachment.node_id] = False
        except CorruptRecord:
            continue
    return found


def _check_found(seen: Observed) -> None:
    """Raises InvalidRequest if no part of the volume was found."""
    claim_exists = seen.claim is not None and (seen.claim.phase or "claim" in seen.unseen)
    if (
        claim_exists
        or seen.pv
        or seen.record
        or seen.record_problem
        or seen.leftover
        or (seen.host and seen.host.stage)
    ):
        return
    parts = "".join(f"\n  {part} not examined: {why}" for part, why in seen.unseen.items() if part != "host")
    raise InvalidRequest(repr(seen.asked), f"no claim, PersistentVolume or volume with this name was found{parts}")


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree."""

    text: str
    below: tuple[Branch, ...] = field(default=())


def branches(seen: Observed) -> Iterator[Branch]:
    if (claim := seen.claim) is not None:
        state = "does not exist" if not claim.phase else ("state unknown" if claim.phase == UNKNOWN else claim.phase)
        pods = tuple(Branch(f"pod {pod} on {node or 'no node yet'}") for pod, node in claim.pods.items())
        events = tuple(Branch(f"event: {text}") for text in claim.warnings)
        yield Branch(
            _line("claim", f"{claim.namespace}/{claim.name}", state, claim.size, _deleting(claim.deleting)),
            pods + events,
        )
    if (pv := seen.pv) is not None:
        attached = tuple(
            Branch(
                _line(
                    "VolumeAttachment",
                    item.node,
                    "attached" if item.attached else "not attached",
                    _deleting(item.deleting),
                    item.error,
                )
            )
            for item in seen.cluster_attachments
        )
        yield Branch(_line("PersistentVolume", pv.name, pv.phase, _deleting(pv.deleting), pv.message), attached)
    yield from _record_branches(seen)
    if (host := seen.host) is not None:
        yield Branch(
            f"host {host.name}: {f'stage record: {host.stage}' if host.stage else 'not staged here'}",
            tuple(_host_branches(host)),
        )


def _record_branches(seen: Observed) -> Iterator[Branch]:
    record = seen.record
    if record is None:
        if seen.record_problem:
            yield Branch(f"volume: {seen.record_problem}")
        elif "store" not in seen.unseen:
            yield Branch("volume: no record")
        return
    since = rows.age(record.created_at, seen.now)
    below = [Branch(_line("back end", record.backend, *_backend_state(seen)))]
    on_array = [
        rows.array_name(record),
        f"id {record.provider.id}" if record.provider.id else "",
        f"pool {record.pool}" if record.pool else "",
    ]
    below.append(Branch(_line("object", *on_array)))
    for attachment in seen.attachments:
        known = seen.registered.get(attachment.node_id)
        below.append(
            Branch(
                _line(
                    "attachment",
                    f"{rows.node_name(attachment)} ({attachment.id})",
                    attachment.status.value,
                    rows.age(attachment.created_at, seen.now),
                    "node not registered" if known is False else "",
                    attachment.message,
                )
            )
        )
    if seen.snapshots:
        below.append(Branch(f"snapshots: {seen.snapshots}"))
    if seen.leftover:
        below.append(Branch(f"leftover: {seen.leftover}"))
    title = _line(
        "volume", record.id, record.status.value, f"{record.size} GiB", f"{since} old" if since else "", record.message
    )
    yield Branch(title, tuple(below))


def _backend_state(seen: Observed) -> tuple[str, ...]:
    backend = seen.backend
    if backend is None:
        return ()
    free = f"{backend.free_gib:g} GiB free" if backend.free_gib is not None else ""
    return (
        f"state {backend.state}" if backend.state == "unknown" else backend.state,
        free,
        backend.reason if backend.state != "unknown" else "",
    )


def _host_branches(host: HostView) -> Iterator[Branch]:
    if host.device:
        paths = tuple(Branch(f"path {name}: {state}") for name, state in host.paths.items())
        kind = "multipath device" if host.multipath else "device"
        yield Branch(_line(kind, host.device, host.protocol, host.problem or "works"), paths)
    elif host.problem:
        yield Branch(host.problem)
    if host.fs_type:
        yield Branch(_line("file system", host.fs_type, host.errors))
    for mount in host.mounts:
        state = "mounted" + (" read-only" if mount.read_only else "") if mount.present else "not mounted"
        yield Branch(_line("mount", mount.path, state, mount.problem))


def _deleting(is_so: bool) -> str:
    return "being deleted" if is_so else ""


def _line(kind: str, name: str, *facts: str) -> str:
    """`kind name: fact, fact`"""
    shown = ", ".join(fact for fact in facts if fact)
    return f"{kind} {name}: {shown}" if shown else f"{kind} {name}"


def lines(found: Iterable[Branch], indent: str = "") -> Iterator[str]:
    """The branches as text."""
    listed = list(found)
    for position, branch in enumerate(listed):
        is_last = position == len(listed) - 1
        yield f"{indent}{'└─ ' if is_last else '├─ '}{branch.text}"
        yield from lines(branch.below, indent + ("   " if is_last else "│  "))


def as_row(seen: Observed) -> dict[str, Any]:
    """The observed state as plain data, without secrets."""
    shown = {
        name: value
        for name, value in asdict(replace(seen, record=None, attachments=())).items()
        if name not in ("now", "record", "attachments", "backends")
    }
    shown["volume"] = rows.volume_row(seen.record, seen.attachments, seen.now) if seen.record else None
    return _ordered(shown)


def _ordered(shown: Mapping[str, Any]) -> dict[str, Any]:
    first = ("asked", "claim", "pv", "volume", "backend")
    return {
        **{name: shown[name] for name in first},
        **{name: value for name, value in shown.items() if name not in first},
    }
