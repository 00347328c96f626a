"""The publish_context: what a node is told of a volume, readable by that node alone.

A node that has registered a key of its own gets it encrypted to that key and signed. One that has none, of an earlier version or outside
Kubernetes, gets it sealed with a key that it shares with the controller.
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
"""Between two looks at whether the nodes are to be told of other keys, which cost nothing."""
AGAIN_SECONDS = 60.0
"""After which all nodes are looked at although the keys are the same: a registration that was deleted, and made anew by its node, has none."""

_log = logs.logger(__name__)


class Contexts:
    """Seals what a node needs to reach a volume.

    Args:
        shared: seals for nodes without a key of their own.
        signers: the controller's keys; the first one signs, and nodes are told of all. Nobody else may have them.
        nodes: where nodes register.
        registering: nodes register here, so that each should have a key of its own.
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
        """Let the node know of the keys that sign, before anything is sealed for it. Its registration as it is then.

        Raises:
            PreconditionFailed: nothing can be sealed for it: it has no key of its own, and there is none to share.
            NotFound, StaleRecord, StoreUnavailable.
        """
        signers = self._public()
        if node.public_key and signers:
            return _tell(self._nodes, node, signers)
        self._require_shared(node)
        return node

    def seal(self, node: Node, secret: bytes) -> str:
        """The text for a node that was prepared.

        Raises:
            InvalidRequest: what it registered is no key.
            PreconditionFailed: the keys of then have been taken away since.
        """
        signers = self._signers()
        if node.public_key and signers:
            return envelopes.seal(secret, node=node.id, to=node.public_key, signer=signers[0])
        self._require_shared(node)
        return self._shared.seal(secret)

    def _require_shared(self, node: Node) -> None:
        """Nothing goes to a node that registers in plain. Raises PreconditionFailed."""
        if self._registering and not self._shared.active:
            raise PreconditionFailed(
                f"node {node.id!r} has registered no key of its own: its plugin is of an earlier version, or has not registered again yet"
                if self._signers()
                else "sealing_keys must hold a key that no node has: the controller signs with it what it tells nodes"
            )

    def tell_all(self) -> None:
        """After an exchange of the controller's keys, and now and then: let all nodes know that can use it. Raises StoreUnavailable.

        A node without a key of its own is left alone: a plugin of an earlier version would take the keys out of the object when it
        registers again, which only the controller may.
        """
        signers, now = self._public(), self._clock()
        if not self._registering or (signers == self._told and now - self._told_at < AGAIN_SECONDS):
            return
        is_everybody_told = True
        for node in walk(self._nodes, Node):
            if not node.public_key:
                continue
            try:
                _tell(self._nodes, node, signers)
            except NotFound:
                continue
            except DriverError as error:
                is_everybody_told = False
                _log.warning("a node cannot be told of the keys that sign", node=node.id, reason=str(error))
        if is_everybody_told:
            self._told, self._told_at = signers, now

    def _public(self) -> dict[str, str]:
        return {signer.id: signer.public for signer in self._signers()}


def _tell(nodes: Store, node: Node, signers: dict[str, str]) -> Node:
    return change(nodes, node, lambda known: known if known.signers == signers else replace(known, signers=signers))
