"""Diagnoses a volume's faults from its observed state, with the next step for each. No I/O.

Each rule finds faults of one part. The rules are in the order in which an operator should handle the faults: a back end that is down
explains most of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from csi_cinderlib.inspection.observed import HostView, Observed
from csi_cinderlib.inspection.rows import age, array_name, node_name
from csi_cinderlib.lifecycle.ledger import GRACE
from csi_cinderlib.model import times
from csi_cinderlib.model.records import FOREIGN, Attachment, Status
from csi_cinderlib.pages import ERRORS_PAGE, ORPHAN_PAGE

LONG = timedelta(minutes=5)
"""Age at which an unfinished attachment is reported. The attacher retries at least this often."""
_WORKING = frozenset({"running", "live"})
_ROOM = re.compile(
    r"no space|not enough (free )?(space|capacity)|insufficient (free )?(space|capacity)|RESOURCE_EXHAUSTED|"
    r"\bis full\b|no pool|out of space",
    re.IGNORECASE,
)


FINE = frozenset({"healthy", "nothing-found"})
"""Codes that report no fault."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding.

    Attributes:
        code: a stable name for programs.
        finding: the fault, as a sentence.
        next_step: what to do.
        waiting: no fault yet: work is in progress.
    """

    code: str
    finding: str
    next_step: str
    waiting: bool = False


def diagnose(seen: Observed) -> tuple[Diagnosis, ...]:
    """The faults, most important first; a single diagnosis without a fault if there are none."""
    found = tuple(diagnosis for rule in RULES for diagnosis in rule(seen))
    return found or (_healthy(seen),)


def _healthy(seen: Observed) -> Diagnosis:
    if seen.unseen:
        parts = ", ".join(seen.unseen)
        return Diagnosis(
            "nothing-found", "No fault was found in the parts that were examined.", f"Not examined: {parts}."
        )
    return Diagnosis("healthy", "No fault was found.", "No action is needed.")


def _backend(seen: Observed) -> Iterator[Diagnosis]:
    backend = seen.backend
    if backend is None or backend.state in ("ready", "unknown"):
        return
    if backend.state == "not configured":
        yield Diagnosis(
            "backend-not-configured",
            f"Back end {backend.name!r} is no longer configured.",
            "Restore its section in the configuration. Without it, its volumes cannot be attached or deleted.",
        )
        return
    yield Diagnosis(
        "backend-down",
        f"Back end {backend.name!r} is not ready{_because(backend.reason)}.",
        "Fix the reported cause; the driver retries automatically. `csi-cinderlib check` tests the connection. "
        f"`csi-cinderlib backends restart {backend.name}` ends a driver that hangs.",
    )


def _claim_is_pending(seen: Observed) -> Iterator[Diagnosis]:
    claim = seen.claim
    if claim is None or seen.record is not None or seen.pv is not None:
        return
    if not claim.phase and "claim" not in seen.unseen and "Kubernetes" not in seen.unseen:
        yield Diagnosis(
            "claim-not-found",
            f"Claim {claim.namespace}/{claim.name} does not exist.",
            "Check the name and the namespace.",
        )
    if claim.phase != "Pending":
        return
    if reason := next((text for text in claim.warnings if _ROOM.search(text)), ""):
        yield Diagnosis(
            "no-pool-fits",
            f"No pool has room for claim {claim.namespace}/{claim.name} ({claim.size}){_because(reason)}.",
            "Compare `csi-cinderlib get backends` with the size and the parameters of StorageClass "
            f"{claim.storage_class!r}: free up space, extend the pool, or change the class.",
        )
    elif claim.warnings:
        yield Diagnosis(
            "provisioning-fails",
            f"Claim {claim.namespace}/{claim.name} cannot be provisioned: {claim.warnings[0]}",
            "Fix the reported cause; the provisioner retries automatically.",
        )
    else:
        yield Diagnosis(
            "claim-pending",
            f"Claim {claim.namespace}/{claim.name} is pending, and the driver has no volume for it.",
            f"Check that StorageClass {claim.storage_class!r} names this driver; with volumeBindingMode WaitForFirstConsumer the "
            "volume is created when a pod uses the claim.",
            waiting=True,
        )


def _record_is_missing(seen: Observed) -> Iterator[Diagnosis]:
    if seen.record_problem:
        yield Diagnosis(
            "record-unreadable",
            f"The volume's record cannot be read: {seen.record_problem}.",
            "Restore it from an export. Until then, the volume cannot be attached or deleted.",
        )
    pv = seen.pv
    if pv is None or seen.record is not None or seen.record_problem or "store" in seen.unseen:
        return
    if pv.driver and seen.driver_name and pv.driver != seen.driver_name:
        yield Diagnosis(
            "other-driver",
            f"PersistentVolume {pv.name} belongs to CSI driver {pv.driver!r}, not to {seen.driver_name!r}.",
            "Examine the volume with that driver.",
        )
    elif pv.handle:
        yield Diagnosis(
            "record-missing",
            f"PersistentVolume {pv.name} refers to volume {pv.handle!r}, which has no record here.",
            "Check that this is the driver's metadata store. If the record was lost, restore it from an export.",
        )


def _volume(seen: Observed) -> Iterator[Diagnosis]:
    record = seen.record
    if record is None:
        return
    since = age(record.created_at, seen.now) or "an unknown time"
    if record.name_taken:
        yield Diagnosis(
            "name-taken",
            f"Volume {record.id} was not created: the back end may already have an object {array_name(record)!r}"
            f"{_because(record.name_taken)}.",
            f"Look for it on back end {record.backend!r}; see {ORPHAN_PAGE}. Then run `csi-cinderlib orphans forget {record.id}`.",
        )
    elif record.status is Status.ERROR and _ROOM.search(record.message):
        yield Diagnosis(
            "pool-full",
            f"Volume {record.id} failed because its pool is full: {record.message}",
            f"Free or add space in {_place(seen)}; the call is retried automatically.",
        )
    elif record.status is Status.ERROR:
        yield Diagnosis(
            "volume-in-error",
            f"Volume {record.id} is in ERROR{_because(record.message)}.",
            f"Fix the reported cause on back end {record.backend!r}, then run `csi-cinderlib orphans fix {record.id}` or "
            "repeat the call.",
        )
    elif record.status is Status.CREATING and _is_older(record.created_at, seen, GRACE):
        yield Diagnosis(
            "creating-for-long",
            f"Volume {record.id} has been in status creating for {since}, and the call is no longer repeated{_because(record.message)}.",
            f"Run `csi-cinderlib orphans fix {record.id}`, which undoes the creation; a claim that still exists gets a new volume.",
        )
    elif record.status is Status.CREATING:
        yield Diagnosis(
            "creating",
            f"Volume {record.id} has been in status creating for {since}{_because(record.message)}.",
            f"Wait: the creation is undone after {int(GRACE.total_seconds() // 60)} minutes unless the call is repeated.",
            waiting=True,
        )
    elif record.status in (Status.IMPORTING, Status.UNMANAGING):
        name = record.imported.name if record.imported else array_name(record)
        yield Diagnosis(
            "import-unfinished",
            f"The import of volume {record.id} was not finished or is being undone{_because(record.message)}.",
            f"Repeat it with `csi-cinderlib import-volume {record.backend} {name}`, or add --undo to give the volume up.",
        )
    elif record.status in FOREIGN:
        yield Diagnosis(
            "adoption-unfinished",
            f"Volume {record.id} is {record.status}: its adoption from OpenStack Cinder, or its return, was not finished.",
            "Repeat `csi-cinderlib adopt cinder` with its plan and --apply or --rollback.",
        )
    elif record.status is Status.DELETING:
        yield Diagnosis(
            "delete-unfinished",
            f"The deletion of volume {record.id} was not finished{_because(record.message)}.",
            _after_delete(seen),
        )
    elif record.status is Status.EXTENDING:
        yield Diagnosis(
            "extend-unfinished",
            f"Volume {record.id} is being extended to {record.target_size or '?'} GiB{_because(record.message)}.",
            f"The driver retries every minute; `csi-cinderlib orphans fix {record.id}` retries now.",
            waiting=not record.message,
        )
    if seen.leftover:
        yield Diagnosis(
            "leftover",
            f"Volume {record.id} may have left an object on the back end: {seen.leftover}",
            f"Look for it; see {ORPHAN_PAGE}. Then run `csi-cinderlib orphans forget {record.id}`.",
        )


def _after_delete(seen: Observed) -> str:
    assert seen.record is not None
    if seen.snapshots:
        return f"Delete its {seen.snapshots} snapshots first."
    if seen.attachments:
        return f"It is still attached to {', '.join(map(node_name, seen.attachments))}: detach it there first."
    return f"The driver retries every minute; `csi-cinderlib orphans fix {seen.record.id}` retries now and reports the cause."


def _pool(seen: Observed) -> Iterator[Diagnosis]:
    backend, record = seen.backend, seen.record
    wants_room = record is not None and record.status in (Status.CREATING, Status.EXTENDING)
    if backend is None or record is None or backend.free_gib is None or not wants_room:
        return
    wanted = record.size if record.status is Status.CREATING else (record.target_size or record.size) - record.size
    if backend.free_gib < wanted:
        yield Diagnosis(
            "pool-full",
            f"Back end {backend.name!r} has {backend.free_gib:g} GiB free, but {wanted} GiB are needed.",
            "Free or add space; the call is retried automatically.",
        )


def _attachments(seen: Observed) -> Iterator[Diagnosis]:
    wanted = _wanted_nodes(seen)
    for attachment in seen.attachments:
        node = node_name(attachment)
        if attachment.status is Status.ERROR:
            yield Diagnosis(
                "attachment-in-error",
                f"Attachment {attachment.id} to node {node} failed{_because(attachment.message)}.",
                f"Fix the reported cause; `csi-cinderlib orphans fix {attachment.id}` disconnects it.",
            )
        elif attachment.status is not Status.AVAILABLE and _is_older(attachment.created_at, seen, LONG):
            yield Diagnosis(
                "attachment-unfinished",
                f"Attachment {attachment.id} to node {node} has been {attachment.status.value} for "
                f"{age(attachment.created_at, seen.now)}{_because(attachment.message)}.",
                f"Run `csi-cinderlib orphans fix {attachment.id}`, which disconnects it. The attacher then attaches it again.",
            )
        elif seen.registered.get(attachment.node_id) is False:
            yield Diagnosis(
                "node-not-registered",
                f"Node {node} is not registered, but the volume is attached to it.",
                "Start the driver's node plugin there. If the node is gone for good, delete its Node object; Kubernetes then detaches the volume.",
            )
        elif (
            wanted
            and not seen.unseen.keys() & {"Kubernetes", "VolumeAttachments"}
            and _is_elsewhere(attachment, wanted)
        ):
            yield Diagnosis(
                "attached-elsewhere",
                f"The volume is still attached to node {node}, but it is needed on {', '.join(sorted(wanted))}.",
                f"If node {node} is running, wait until the volume is unmounted there. If it is off for good, taint its Node object with "
                "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute; Kubernetes then detaches the volume.",
            )
    for attached in seen.cluster_attachments:
        if attached.error:
            yield Diagnosis(
                "attach-fails",
                f"Kubernetes cannot {'detach' if attached.deleting else 'attach'} the volume on node {attached.node}: {attached.error}",
                "Fix the reported cause; the attacher retries automatically.",
            )


def _wanted_nodes(seen: Observed) -> set[str]:
    pods = seen.claim.pods.values() if seen.claim is not None else ()
    return {node for node in pods if node} | {item.node for item in seen.cluster_attachments if not item.deleting}


def _is_elsewhere(attachment: Attachment, wanted: set[str]) -> bool:
    return not wanted & {attachment.node_id, node_name(attachment)}


def _host(seen: Observed) -> Iterator[Diagnosis]:
    host = seen.host
    if host is None or not host.stage:
        return
    if _is_stale(seen, host):
        yield Diagnosis(
            "stage-without-attachment",
            f"Host {host.name} has a stage record ({host.stage}) of the volume, but the volume is not attached to this host.",
            "Make sure that no pod here uses it, then restart the node plugin, which removes unused connections. Do not remove "
            "the device by hand.",
        )
    if broken := {name: state for name, state in host.paths.items() if state not in _WORKING}:
        shown = ", ".join(f"{name} {state}" for name, state in broken.items())
        left = len(host.paths) - len(broken)
        yield Diagnosis(
            "paths-faulty",
            f"{len(broken)} of {len(host.paths)} paths of {host.device} failed: {shown}.",
            f"Check cabling, zoning and portals of these paths. {'The volume uses the remaining paths.' if left else 'No path is left.'}",
        )
    elif host.problem:
        yield Diagnosis(
            "device-faulty",
            f"The device on host {host.name} does not work: {host.problem}.",
            "Restore the connection to the array. If the device is gone, delete the pod; the volume is then connected again.",
        )
    yield from _file_system(seen, host)


def _file_system(seen: Observed, host: HostView) -> Iterator[Diagnosis]:
    problems = [mount.problem for mount in host.mounts if mount.problem]
    if host.errors or any("read-only" in problem or "stopped after an error" in problem for problem in problems):
        yield Diagnosis(
            "file-system-needs-repair",
            f"The file system needs manual repair: {host.errors or problems[0]}.",
            f"Stop {_pods(seen)} and follow {ERRORS_PAGE}.",
        )
    elif problems:
        yield Diagnosis(
            "mount-faulty",
            f"The mount on host {host.name} does not work: {problems[0]}.",
            "Restore the share or device that does not respond. Delete the pod if it does not recover.",
        )
    elif host.stage == "staged" and any(not mount.present for mount in host.mounts):
        missing = next(mount.path for mount in host.mounts if not mount.present)
        yield Diagnosis(
            "not-mounted",
            f"The volume is not mounted at {missing} on host {host.name}.",
            "After a reboot this is normal until the pod starts. Otherwise delete the pod: the kubelet then mounts it again.",
        )


def _pods(seen: Observed) -> str:
    if seen.claim is None or not seen.claim.pods:
        return "the pods that use it"
    return ", ".join(f"pod {seen.claim.namespace}/{pod}" for pod in sorted(seen.claim.pods))


def _is_stale(seen: Observed, host: HostView) -> bool:
    if "store" in seen.unseen or "attachments" in seen.unseen:
        return False
    return all(
        node_name(attachment) != host.name and attachment.node_id != host.name for attachment in seen.attachments
    )


def _place(seen: Observed) -> str:
    assert seen.record is not None
    pool = f" pool {seen.record.pool!r}" if seen.record.pool else ""
    return f"back end {seen.record.backend!r}{pool}"


def _because(reason: str) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


def _is_older(created_at: str, seen: Observed, limit: timedelta) -> bool:
    try:
        return seen.now - times.parse(created_at) > limit
    except ValueError:
        return True


RULES: tuple[Callable[[Observed], Iterator[Diagnosis]], ...] = (
    _backend,
    _record_is_missing,
    _claim_is_pending,
    _volume,
    _pool,
    _attachments,
    _host,
)
