"""What a publish_context says, for this node alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from csi_cinderlib import envelopes
from csi_cinderlib.envelopes import NodeKey, UnknownSigner
from csi_cinderlib.errors import DriverError, InvalidRequest
from csi_cinderlib.node.own_keys import OwnKeys
from csi_cinderlib.sealing import Sealer

LOOK_SECONDS = 2.0
"""The least between an answer and the next question for the controller's keys: a forged context must not make this node ask all the time."""


class Opener(Protocol):
    """Opens what the controller has sealed."""

    def open(self, text: str, /) -> bytes:
        """Raises InvalidRequest: it is not for this node, or was not sealed by its controller."""


class OwnContexts:
    """Opens what was encrypted to this node's own keys, and signed by a controller that it was told of.

    Args:
        shared: opens what was sealed before this node had a key of its own, with a key that all nodes had.
        ask: asks for the controller's public keys, by their ids. May raise StoreUnavailable, HostError.
    """

    def __init__(
        self,
        keys: OwnKeys,
        shared: Sealer,
        *,
        signers: Mapping[str, str],
        ask: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._shared = shared
        self._signers = signers
        self._ask = ask
        self._clock = clock
        self._asked_at = float("-inf")
        self._failure: DriverError | None = None
        self._guard = threading.Lock()
        self._known: tuple[tuple[int, int], Mapping[str, NodeKey]] = ((0, 0), {})

    def open(self, text: str) -> bytes:
        """What the controller has sealed for this node.

        Raises:
            InvalidRequest: it is another node's, was changed, or a key is missing (named).
            StoreUnavailable: it is signed by a key that is not known here, and nobody can be asked for it.
        """
        if text.startswith(envelopes.PREFIX):
            signers = self._signers
            try:
                return self._opened(text, signers)
            except UnknownSigner:
                if not self._learn_others_than(signers):
                    raise
                return self._opened(text, self._signers)
        if not self._shared.active:
            raise InvalidRequest(
                "publish_context",
                f"is not encrypted to the key of node {self._keys.node!r}, and there is no key here that all nodes had before (shared_keys_file)",
            )
        return self._shared.open(text)

    def learn(self) -> None:
        """Ask for the controller's keys. Raises StoreUnavailable, HostError."""
        with self._guard:
            self._learn()

    def _learn_others_than(self, signers: Mapping[str, str]) -> bool:
        """Ask, unless another thread just did, or nobody may ask yet again. Whether there are others than these.

        Raises StoreUnavailable, HostError: nobody can be, or could just now be, asked.
        """
        with self._guard:
            if self._signers == signers and self._clock() - self._asked_at >= LOOK_SECONDS:
                self._learn()
            if self._signers == signers and self._failure:
                raise self._failure
            return self._signers != signers

    def _learn(self) -> None:
        self._failure = None
        try:
            self._signers = self._ask()
        except DriverError as error:
            self._failure = error
            raise
        finally:
            self._asked_at = self._clock()  # those who waited for a slow answer must not ask again, one after the other

    def _opened(self, text: str, signers: Mapping[str, str]) -> bytes:
        return envelopes.open(text, node=self._keys.node, keys=self._own(), signers=signers)

    def _own(self) -> Mapping[str, NodeKey]:
        """This node's keys, read again when their file has changed. Raises HostError."""
        stamp, (known_stamp, keys) = self._keys.stamp(), self._known
        if stamp != known_stamp:
            keys = self._keys.by_id()
            self._known = (stamp, keys)
        return keys
