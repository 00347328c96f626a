"""Which object configures which back end. The driver's store has a claim for each, written before the back end starts.

Labels, finalizers and names are data that people and tools write, copy and restore, so they prove nothing: only the claim tells whose a
name is. It holds the uid of the object, which the API server gives once and never again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass

from csi_cinderlib.errors import AlreadyExists, DriverError, NotFound
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import key_values

PREFIX = f"{OWN_KEYS}back-end."


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The claim of an object on a back end.

    Attributes:
        backend: name of the back end, which no other object or file can configure meanwhile.
        uid: of the object; "" if the record cannot be read, which nothing may overrule.
        object: name of the object, for messages.
        driver: name of the CSI driver that uses it. Two drivers in a namespace share a store on custom resources.
    """

    backend: str
    uid: str
    object: str
    driver: str

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.backend}"


def read(store: Store) -> tuple[Claim, ...]:
    """All claims. Raises StoreUnavailable."""
    found = (_read(key, record) for key, record in key_values(store, PREFIX))
    return tuple(sorted(found, key=lambda claim: claim.backend))


class Claims:
    """The claims of a store that only this process changes, because it is the active controller.

    The store is read at the first use, which can raise StoreUnavailable. Later, only `take` and `drop` raise errors.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Claim] | None = None
        self._is_doubtful = False

    def look(self) -> None:
        """Read the claims if that was not done, or once more after a change that failed, which may have been stored nevertheless.

        Raises:
            StoreUnavailable: the claims are not known yet.
        """
        if self._known is None:
            self._read()
        elif self._is_doubtful:
            with suppress(DriverError):  # what is known stays true, and what is in doubt stays taken
                self._known = _by_backend(self._store)
                self._is_doubtful = False

    def all(self) -> tuple[Claim, ...]:
        return tuple(self._read().values())

    def of_object(self, uid: str) -> Claim | None:
        return next((claim for claim in self._read().values() if claim.uid == uid), None)

    def of_backend(self, name: str) -> Claim | None:
        return self._read().get(name)

    def take(self, claim: Claim) -> None:
        """Store a claim on a back end without one, and of an object without one. Raises AlreadyExists, or another error of the store.

        After another error, nothing may configure the back end until the claims were read again.
        """
        if self.of_object(claim.uid) is not None:
            raise AlreadyExists("claim", claim.backend)
        known = self._read()
        try:
            self._store.add(KeyValue(id=claim.key, value=json.dumps(asdict(claim))))
        except DriverError:
            self._known = {**known, claim.backend: _unreadable(claim.key)}
            self._is_doubtful = True
            self.look()
            raise
        self._known = {**known, claim.backend: claim}

    def drop(self, claim: Claim) -> None:
        """Remove a claim, and no later one on the same back end. Idempotent. After an error of the store, the claim stays."""
        known = self._read()
        self._is_doubtful = True
        with suppress(NotFound):
            found = self._store.get(KeyValue, claim.key)
            if _read(claim.key, found).uid == claim.uid:
                self._store.remove(found)
        self._known = {name: other for name, other in known.items() if name != claim.backend}

    def gone(self, uids: Iterable[str]) -> tuple[Claim, ...]:
        """The claims of objects that do not exist any more.

        Args:
            uids: of all objects that exist. It must be complete.
        """
        present = set(uids)
        return tuple(claim for claim in self.all() if claim.uid and claim.uid not in present)

    def _read(self) -> dict[str, Claim]:
        if self._known is None:
            self._known = _by_backend(self._store)
        return self._known


def _by_backend(store: Store) -> dict[str, Claim]:
    return {claim.backend: claim for claim in read(store)}


def _read(key: str, record: KeyValue | None) -> Claim:
    """A content that belongs to another key was copied or edited: it says nothing."""
    with suppress(ValueError, TypeError):
        if record is not None and (claim := Claim(**json.loads(record.value))).key == key:
            return claim
    return _unreadable(key)


def _unreadable(key: str) -> Claim:
    return Claim(backend=key.removeprefix(PREFIX), uid="", object="", driver="")
