"""The node part of a process: devices and mounts of this machine. Imports neither Cinder nor a database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from csi_cinderlib.app import local_paths, registering
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.stopping import Stopping, every
from csi_cinderlib.brick import AllowedPaths, Initiator, connector_properties, ensure_nvme_identity, tools
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.load import segments
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.node import Node
from csi_cinderlib.csi.server import MEASURING_WORKERS, Service
from csi_cinderlib.host.patience import Patience
from csi_cinderlib.node import registration
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.contexts import Opener, OwnContexts
from csi_cinderlib.node.expansion import Expansion
from csi_cinderlib.node.own_keys import OwnKeys
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.publishing import Publishing
from csi_cinderlib.node.reconcile import reconcile
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.staging import Staging
from csi_cinderlib.node.statistics import Statistics
from csi_cinderlib.observe import logs

EVERYWHERE: Mapping[str, str] = {"cluster": "all"}
"""The segment of a node that has no other."""

_log = logs.logger(__name__)
KEY_SECONDS = 5.0
"""Interval between two checks of the file with the keys of this node."""
SIGNERS_SECONDS = 3600.0
"""Interval between two queries of the controller keys, so that a removed key is not accepted for ever."""
PRUNE_SECONDS = 24 * 3600.0
"""Interval between two searches for obsolete format marks."""
RECOVERY_SECONDS = 30.0
"""Limit for the recovery of one volume before the next one is tried."""


class NodeSide:
    """See `app.serve.Side`."""

    def __init__(
        self, settings: Settings, stopping: Stopping, keys: Keys, *, prune_seconds: float = PRUNE_SECONDS
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._prune_seconds = prune_seconds
        self._keys = keys
        self._locks = KeyedLocks()
        self._node_id = ""
        self._connector: Mapping[str, object] = {}
        self._own: OwnKeys | None = None
        self._own_contexts: OwnContexts | None = None
        self._registered_key = (0, 0)
        self._topology = settings.topology if settings.topology_labels else _topology(settings, settings.topology)
        self._records: StageRecords
        self._initiator: Initiator
        self._paths: Paths
        self._calls: Calls
        self._staging: Staging

    def open(self) -> None:
        """Raises ConfigurationError, HostError, Unsupported; also StoreUnavailable, NotReady if the node registers itself."""
        settings = self._settings
        if not tools.missing(["nvme"]):
            with suppress(OSError):  # an array that needs the name reports it later
                ensure_nvme_identity()
        self._connector = connector_properties(host=settings.node_name, multipath=settings.multipath)
        self._node_id = registration.node_id(self._connector, settings)
        contexts: Opener = self._keys.sealer
        if settings.kubernetes and settings.node_name:
            contexts = self._open_registered()
        self._paths = Paths(settings.kubelet_directory)
        self._records = StageRecords(settings.state_dir, self._paths)
        allowed = AllowedPaths(lambda: local_paths.allowed(settings))
        self._initiator = Initiator(settings.state_dir, multipath=settings.multipath, allowed=allowed)
        self._calls = Calls(self._records, Patience(settings.workers, MEASURING_WORKERS))
        self._staging = Staging(self._records, self._initiator, contexts, self._locks, self._paths, self._calls)
        tell_what_is_missing(multipath=settings.multipath)

    def _open_registered(self) -> Opener:
        """Register, and accept data encrypted to this node from now on."""
        self._own = OwnKeys(self._settings.state_dir, self._node_id)
        registered = self._register()
        self._topology = _topology(self._settings, registered.topology)
        self._registered_key = self._own.stamp()
        self._own_contexts = OwnContexts(
            self._own, self._keys.sealer, signers=registered.signers, ask=lambda: self._register().signers
        )
        return self._own_contexts

    def _register_new_key(self) -> None:
        if self._own is not None and (stamp := self._own.stamp()) != self._registered_key:
            self._register()
            self._registered_key = stamp
            _log.info("node key registered", node=self._node_id)

    def _register(self) -> registering.Registered:
        """Register as a custom resource, the only object in Kubernetes that a node may write.

        Labels are read only at the start, when the kubelet asks for the topology. A label that is removed later must not cut off the
        node from the controller keys.
        """
        store = self._settings.store
        is_first = self._own_contexts is None
        return registering.in_child(
            registering.Request(
                options=store.options if store.plugin == "kubernetes" else {},
                node=self._node_id,
                state_dir=str(self._settings.state_dir),
                connector=self._connector,
                topology=self._topology,
                labels=self._settings.topology_labels if is_first else (),
            )
        )

    def services(self) -> tuple[Service, ...]:
        node = Node(
            self._staging,
            Publishing(self._records, self._locks, self._paths, self._calls),
            Expansion(self._records, self._initiator, self._locks, self._paths, self._calls),
            Statistics(self._records, paths=self._paths, calls=self._calls),
            node_id=self._node_id,
            max_volumes=self._settings.max_volumes_per_node,
            topology=self._topology,
        )
        return (node,)

    def status(self) -> Mapping[str, object]:
        """For the administration socket."""
        return {"id": self._node_id, "registered": self._own is not None, "topology": dict(self._topology)}

    def wait(self) -> None:
        """Start the recovery of volumes of an earlier process, in a thread: a share may never answer, and no volume waits for it."""
        threading.Thread(target=self._recover, name="recovery", daemon=True).start()
        if (contexts := self._own_contexts) is not None:
            every(KEY_SECONDS, "node key", self._register_new_key, self._stopping)
            every(SIGNERS_SECONDS, "controller keys", contexts.learn, self._stopping)
        every(self._prune_seconds, "format marks", self._prune, self._stopping)

    def _recover(self) -> None:
        """Unstage volumes that no caller can unstage any more."""
        try:
            done = reconcile(self._records, self._staging, self._locks, self._calls, wait=RECOVERY_SECONDS)
        except Exception as error:  # a bug here must not end a node with usable volumes
            _log.exception("stage record recovery failed", error)
            return
        if done != type(done)():
            _log.info(
                "stage records recovered",
                kept=len(done.kept),
                cleaned=len(done.cleaned),
                failed=len(done.failed),
                corrupt=len(done.corrupt),
            )

    def _prune(self) -> None:
        self._records.forget_old_marks(time.time())

    def close(self) -> None:
        """Nothing to release: staged volumes stay staged."""


def tell_what_is_missing(*, multipath: bool) -> None:
    """Log the protocols that this node cannot attach and what to install. Only a volume shows which protocol is needed."""
    lacking = tools.lacking(multipath=multipath)
    if not lacking:
        return
    write = _log.warning if multipath and tools.missing(tools.MULTIPATH) else _log.info
    write("node tools missing", **{protocol: f"needs {tools.advice(absent)}" for protocol, absent in lacking.items()})


def _topology(settings: Settings, own: Mapping[str, str]) -> Mapping[str, str]:
    """The segments of this node: in Kubernetes at least one, which all nodes have.

    The provisioner asks once, at its start, whether there are topologies, and then refuses nodes without segments. A back end with a
    topology may be added at any time, so the controller always says that there are.
    """
    return own or (segments(settings, EVERYWHERE) if settings.in_kubernetes else own)
