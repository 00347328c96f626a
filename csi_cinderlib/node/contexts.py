"""Decryption of a publish_context, which is encrypted for this node only."""

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
"""The minimum interval between requests for the controller's keys, so that forged contexts cannot cause a flood of requests."""


class Opener(Protocol):
    """Opens contexts sealed by the controller."""

    def open(self, text: str, /) -> bytes:
        """Raises InvalidRequest: the text is not for this node, or was not sealed by its controller."""


class OwnContexts:
    """Opens contexts that are encrypted to this node's own keys and signed by a known controller.

    Args:
        shared: opens contexts sealed with a key shared by all nodes, from the time before nodes had keys of their own.
        ask: fetches the controller's public keys by id. May raise StoreUnavailable, HostError.
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
        """The content of a context.

        Raises:
            InvalidRequest: the context is for another node, was changed, or needs a missing key (named).
            StoreUnavailable: the context is signed with an unknown key, and the controller's keys cannot be fetched.
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
                f"is not encrypted to a key of node {self._keys.node!r}, and this node has no shared key (shared_keys_file)",
            )
        return self._shared.open(text)

    def learn(self) -> None:
        """Fetch the controller's keys. Raises StoreUnavailable, HostError."""
        with self._guard:
            self._learn()

    def _learn_others_than(self, signers: Mapping[str, str]) -> bool:
        """Fetch the keys, unless that was done within `LOOK_SECONDS`. Returns whether they differ from `signers`.

        Raises StoreUnavailable, HostError: this or the last request failed.
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
            self._asked_at = self._clock()  # threads that waited for a slow answer must not each repeat the request

    def _opened(self, text: str, signers: Mapping[str, str]) -> bytes:
        return envelopes.open(text, node=self._keys.node, keys=self._own(), signers=signers)

    def _own(self) -> Mapping[str, NodeKey]:
        """This node's keys, read again if the file has changed. Raises HostError."""
        stamp, (known_stamp, keys) = self._keys.stamp(), self._known
        if stamp != known_stamp:
            keys = self._keys.by_id()
            self._known = (stamp, keys)
        return keys
