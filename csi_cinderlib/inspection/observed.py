"""What was seen of one volume, from its claim to the mount: plain values, from which `diagnosis` concludes."""

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
        warnings: of its last events, and those of the pods that use it, the newest first.
        pods: that use it, with the nodes they are on ("" for one that is not scheduled).
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
    """A PersistentVolume; `driver` and `handle` are "" for one of no CSI driver."""

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
        free_gib: None where it is not known.
    """

    name: str
    state: str = "unknown"
    reason: str = ""
    free_gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """One place where the volume should be mounted here.

    Attributes:
        problem: why it does not work; "" when it does.
    """

    path: str
    present: bool = False
    read_only: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """The volume on this host.

    Attributes:
        name: this host's.
        stage: how far staging came by the stage record ("staged", "connected" ...); "" without a record.
        problem: why the device, or the stage record, does not do.
        paths: each path of the device and its state in the kernel.
        errors: what the file system has noted; "" when nothing.
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
    """All of it. None, or nothing, is what does not exist, unless `unseen` names it.

    Attributes:
        asked: as the operator called it.
        record_problem: why the volume's record cannot be read.
        attachments: the records of this driver.
        registered: whether each node of an attachment has registered; nodes of which that cannot be seen are left out.
        leftover: what may be left on the array under this id.
        unseen: each part that cannot be seen from here, and why.
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
