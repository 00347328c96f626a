"""The node's half of a process: this machine's devices and mounts. Imports neither Cinder nor a database."""

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

_log = logs.logger(__name__)
KEY_SECONDS = 5.0
"""Between two looks at the file of this node's keys."""
SIGNERS_SECONDS = 3600.0
"""After which the controller's keys are asked for again, so that one that was taken away is not accepted for ever."""
PRUNE_SECONDS = 24 * 3600.0
"""Between two looks for format marks that nobody needs any more."""
RECOVERY_SECONDS = 30.0
"""For one volume that an earlier process left behind; then the next one has its turn."""


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
        self._topology = settings.topology
        self._records: StageRecords
        self._initiator: Initiator
        self._paths: Paths
        self._calls: Calls
        self._staging: Staging

    def open(self) -> None:
        """Raises ConfigurationError, HostError, Unsupported; StoreUnavailable, NotReady where the node registers itself."""
        settings = self._settings
        if not tools.missing(["nvme"]):
            with suppress(OSError):  # an array that needs the name will say so
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
        """Register, and read from now on what is encrypted to this node."""
        self._own = OwnKeys(self._settings.state_dir, self._node_id)
        registered = self._register()
        self._topology = registered.topology
        self._registered_key = self._own.stamp()
        self._own_contexts = OwnContexts(
            self._own, self._keys.sealer, signers=registered.signers, ask=lambda: self._register().signers
        )
        return self._own_contexts

    def _register_new_key(self) -> None:
        if self._own is not None and (stamp := self._own.stamp()) != self._registered_key:
            self._register()
            self._registered_key = stamp
            _log.info("the key of this node has changed, and is registered", node=self._node_id)

    def _register(self) -> registering.Registered:
        """In Kubernetes always as a custom resource, the one thing that a node may write.

        Labels are read at the start alone, as the kubelet asks for the topology then: one that is taken away must not keep the node from
        the controller's keys.
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
        """Begin to take down what an earlier process left behind. No volume waits for that, and a share may never answer."""
        threading.Thread(target=self._recover, name="recovery", daemon=True).start()
        if (contexts := self._own_contexts) is not None:
            every(KEY_SECONDS, "this node's key", self._register_new_key, self._stopping)
            every(SIGNERS_SECONDS, "the controller's keys", contexts.learn, self._stopping)
        every(self._prune_seconds, "format marks", self._prune, self._stopping)

    def _recover(self) -> None:
        """Take down what nobody can ask for any more."""
        try:
            done = reconcile(self._records, self._staging, self._locks, self._calls, wait=RECOVERY_SECONDS)
        except Exception as error:  # a bug here must not end a node whose volumes can be used
            _log.exception("stage records cannot be looked through", error)
            return
        if done != type(done)():
            _log.info(
                "stage records looked through",
                kept=len(done.kept),
                cleaned=len(done.cleaned),
                failed=len(done.failed),
                corrupt=len(done.corrupt),
            )

    def _prune(self) -> None:
        self._records.forget_old_marks(time.time())

    def close(self) -> None:
        """Nothing is held: what is staged stays staged."""


def tell_what_is_missing(*, multipath: bool) -> None:
    """Log which protocols cannot be attached here and what to install: only a volume shows which of them is wanted."""
    lacking = tools.lacking(multipath=multipath)
    if not lacking:
        return
    told = _log.warning if multipath and tools.missing(tools.MULTIPATH) else _log.info
    told("tools are missing", **{protocol: f"needs {tools.advice(absent)}" for protocol, absent in lacking.items()})
