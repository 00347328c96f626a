"""The observed state of one volume, from its claim to the mount: plain values, the input of `diagnosis`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from csi_cinderlib.model.records import Attachment, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A PersistentVolumeClaim.

    Attributes:
        phase: "Pending", "Bound" or "Lost"; "" when it does not exist.
        volume_name: of its PersistentVolume.
        warnings: the last warning events of the claim and its pods, newest first.
        pods: pods that use it, with their nodes ("" if not scheduled).
    """

    namespace: str
    name: str
    phase: str = ""
    volume_name: str = ""
    storage_class: str = ""
    size: str = ""
    deleting: bool = False
    warnings: tuple[str, ...] = ()
    pods: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolume:
    """A PersistentVolume; `driver` and `handle` are "" if it has no CSI driver."""

    name: str
    phase: str = ""
    driver: str = ""
    handle: str = ""
    claim: str = ""
    deleting: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAttachment:
    """A VolumeAttachment; `error` is its attachError or detachError."""

    name: str
    node: str
    attached: bool = False
    deleting: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A back end.

    Attributes:
        state: "ready", "not ready", "not configured" or "unknown".
        free_gib: None if unknown.
    """

    name: str
    state: str = "unknown"
    reason: str = ""
    free_gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One place where the volume should be mounted here.

    Attributes:
        problem: why it does not work; "" if it works.
    """

    path: str
    present: bool = False
    read_only: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """The volume on this host.

    Attributes:
        name: this host's name.
        stage: the state in the stage record ("staged", "connected" ...); "" without a record.
        problem: the fault of the device or of the stage record.
        paths: state of each path of the device in the kernel.
        errors: errors that the file system recorded; "" if none.
        mounts: the staging path first, then those of pods.
    """

    name: str
    stage: str = ""
    protocol: str = ""
    device: str = ""
    multipath: bool = False
    problem: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    fs_type: str = ""
    errors: str = ""
    mounts: tuple[Mounted, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The complete state. A part that is None or empty does not exist, unless `unseen` names it.

    Attributes:
        asked: the name that the operator gave.
        record_problem: why the volume's record cannot be read.
        attachments: attachment records of this driver.
        registered: whether each node of an attachment is registered; nodes whose registration is unknown are omitted.
        leftover: description of a possible leftover on the array under this id.
        unseen: each part that is not visible from here, with the reason.
    """

    asked: str
    now: datetime
    claim: Claim | None = None
    pv: PersistentVolume | None = None
    driver_name: str = ""
    record: Volume | None = None
    record_problem: str = ""
    attachments: tuple[Attachment, ...] = ()
    cluster_attachments: tuple[ClusterAttachment, ...] = ()
    snapshots: int = 0
    backend: BackendState | None = None
    backends: tuple[BackendState, ...] = ()
    registered: Mapping[str, bool] = field(default_factory=dict)
    leftover: str = ""
    host: HostView | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)
