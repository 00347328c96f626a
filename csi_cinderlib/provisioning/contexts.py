"""The publish_context: connection data of a volume that only its node can read.

For a node with a registered key it is encrypted to that key and signed. For a node without one (an earlier version, or outside
Kubernetes) it is sealed with a key that the node shares with the controller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from csi_cinderlib import envelopes
from csi_cinderlib.envelopes import Signer
from csi_cinderlib.errors import DriverError, NotFound, PreconditionFailed
from csi_cinderlib.model.records import Node
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change
from csi_cinderlib.sealing import Sealer

LOOK_SECONDS = 5.0
"""Interval between two checks for changed keys, which are cheap."""
AGAIN_SECONDS = 60.0
"""Interval after which all nodes are checked although the keys are unchanged: a deleted and recreated registration has no keys."""

_log = logs.logger(__name__)


class Contexts:
    """Seals connection data for nodes.

    Args:
        shared: sealer for nodes without their own key.
        signers: private keys of the controller. The first one signs; all public keys are published to the nodes.
        nodes: registry of the nodes.
        registering: whether nodes register here, so that each should have its own key.
    """

    def __init__(
        self,
        shared: Sealer,
        *,
        signers: Callable[[], Sequence[Signer]] = tuple,
        nodes: Store,
        registering: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._signers = signers
        self._nodes = nodes
        self._registering = registering
        self._clock = clock
        self._told: dict[str, str] | None = None
        self._told_at = float("-inf")

    def prepare(self, node: Node) -> Node:
        """Publish the signing keys to the node before anything is sealed for it; returns the updated registration.

        Raises:
            PreconditionFailed: the node has no key, and there is no shared key.
            NotFound, StaleRecord, StoreUnavailable.
        """
        signers = self._public()
        if node.public_key and signers:
            return _tell(self._nodes, node, signers)
        self._require_shared(node)
        return node

    def seal(self, node: Node, secret: bytes) -> str:
        """The sealed text for a prepared node.

        Raises:
            InvalidRequest: its registered key is invalid.
            PreconditionFailed: the keys have been removed since it was prepared.
        """
        signers = self._signers()
        if node.public_key and signers:
            return envelopes.seal(secret, node=node.id, to=node.public_key, signer=signers[0])
        self._require_shared(node)
        return self._shared.seal(secret)

    def _require_shared(self, node: Node) -> None:
        """Never send plain text to a node that registers. Raises PreconditionFailed."""
        if self._registering and not self._shared.active:
            raise PreconditionFailed(
                f"node {node.id!r} has not registered a key of its own; upgrade its plugin or wait until it registers again"
                if self._signers()
                else "sealing_keys must contain a key that nodes do not have; the controller signs its messages to nodes with that key"
            )

    def tell_all(self) -> None:
        """Publish changed controller keys to all nodes that have their own key. Called periodically. Raises StoreUnavailable.

        Nodes without a key are skipped: a plugin of an earlier version would remove the keys when it registers again, which only the
        controller is allowed to do.
        """
        signers, now = self._public(), self._clock()
        if not self._registering or (signers == self._told and now - self._told_at < AGAIN_SECONDS):
            return
        are_all_told = True
        for node in walk(self._nodes, Node):
            if not node.public_key:
                continue
            try:
                _tell(self._nodes, node, signers)
            except NotFound:
                continue
            except DriverError as error:
                are_all_told = False
                _log.warning("signing keys not sent to node", node=node.id, reason=str(error))
        if are_all_told:
            self._told, self._told_at = signers, now

    def _public(self) -> dict[str, str]:
        return {signer.id: signer.public for signer in self._signers()}


def _tell(nodes: Store, node: Node, signers: dict[str, str]) -> Node:
    return change(nodes, node, lambda known: known if known.signers == signers else replace(known, signers=signers))
