"""Back ends that are configured by BackendConfiguration objects and their Secrets. Both are watched, so that changes are known at once.

An object is claimed before its back end starts, in the driver's own store (`lifecycle.claims`): the claim alone tells which back end an
object configures, also against files that are added later. The label and the finalizer of the object mirror it, so that other drivers leave
the object alone, and it stays while its back end has volumes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from csi_cinderlib.app.object_reading import Refused, absent, backend_name, secret_data, settings_of
from csi_cinderlib.app.object_states import (
    INVALID,
    NAME_IN_USE,
    NOT_CLAIMED,
    UNREAD,
    UNREADABLE,
    Declared,
    Reading,
    Refusal,
    State,
)
from csi_cinderlib.config import objects as specs
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.lifecycle.claims import Claim, Claims
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.persistence.kubernetes.watching import Watch

FIRST_SECONDS = 3.0
"""Longest wait for the objects at the start. Later ones are added as they arrive."""
SLOW_SECONDS, PAUSE_SECONDS = 1.0, 60.0
"""After a refused claim that took so long, as with a webhook that does not answer, the next attempt waits: it would delay all back ends."""

Json = dict[str, Any]
_log = logs.logger(__name__)


class BackendObjects:
    """The objects of a CSI driver in a namespace. Only one thread calls `read` and `close`.

    Args:
        connect: makes a client with a connection of its own.
        complete: the topology with complete keys.
        changed: called after a change, in another thread.
        monotonic: the clock for pauses between attempts to claim an object.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        namespace: str,
        shelf: Configurations,
        claims: Claims,
        *,
        complete: Callable[[Mapping[str, str]], Mapping[str, str]],
        changed: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._namespace = namespace
        self._shelf = shelf
        self._claims = claims
        self._complete = complete
        self._changed = changed
        self._clients: dict[str, Client] = {}
        self._secrets: dict[str, Watch] = {}
        self._guard = threading.Lock()
        self._is_closed = False
        self._told = ""
        self._now = monotonic
        self._pauses: dict[str, tuple[float, Refused]] = {}
        self._warned: dict[str, str] = {}
        self._watch = self._open("", CONFIGURATION.path(namespace), _essence_of_object)

    def wait(self, seconds: float = FIRST_SECONDS) -> None:
        """Wait until the objects and their Secrets have been read once, or could not be, at most for that time."""
        ends = time.monotonic() + seconds
        self._watch.wait(seconds)
        self._follow_secrets(self._declared())
        for watch in self._secrets.values():
            watch.wait(max(0.0, ends - time.monotonic()))

    def close(self) -> None:
        """End all watches."""
        with self._guard:
            self._is_closed = True
            names = [*self._secrets, ""]
        for name in names:
            self._end(name)

    def read(self, places: Mapping[str, str], doubt: str = "") -> Reading:
        """Read all objects, and claim the back ends of those that are accepted. A problem of one object has no effect on the others.

        Raises:
            StoreUnavailable: the claims could not be read since the start.

        Args:
            places: where the back ends of files are configured, by their names.
            doubt: why files may configure others as well; "" if they do not. Then nothing new is claimed.
        """
        self._log_failure()
        self._claims.look()
        if self._watch.is_listed:
            present = {item["metadata"]["uid"] for item in self._watch.objects.values()}
            self._pauses = {uid: pause for uid, pause in self._pauses.items() if uid in present}
            known = present | {claim.uid for claim in self._claims.all()}
            self._warned = {uid: reason for uid, reason in self._warned.items() if uid in known}
            for claim in self._claims.gone(present):
                self._drop(claim)
        declared = self._declared()
        self._follow_secrets(declared)
        states = tuple(self._state(item, places, doubt) for item in declared)
        claims, driver = self._claims.all(), self._shelf.driver_name
        mine = frozenset(claim.backend for claim in claims if claim.driver == driver)
        return Reading(
            states,
            {claim.backend: self._holder(claim) for claim in claims},
            unreadable=frozenset(claim.backend for claim in claims if not claim.uid),
            unlisted=frozenset() if self._watch.is_listed else mine,
        )

    def _drop(self, claim: Claim) -> None:
        """A claim that cannot be removed stays, and with it its back end, until a later reading."""
        try:
            self._claims.drop(claim)
        except DriverError as error:
            if self._is_new(claim.uid, reason := str(error)):
                _log.warning("claim of a back end object not removed", object=claim.object, reason=reason)
        else:
            _log.info("back end object gone", backend=claim.backend, object=claim.object)

    def _is_new(self, uid: str, reason: str) -> bool:
        """Whether a problem of an object differs from the last one, so that it is logged once."""
        known = self._warned.get(uid)
        self._warned[uid] = reason
        return known != reason

    def _declared(self) -> tuple[Declared, ...]:
        """The objects of this driver, and those of no driver yet, in the order of their names."""
        found = []
        for _, item in sorted(self._watch.objects.items()):
            claim = self._claims.of_object(item["metadata"]["uid"])
            if claim is not None and claim.driver == self._shelf.driver_name:
                found.append(Declared(claim.backend, item, is_owner=True))
            elif claim is None and self._shelf.may_claim(item):
                found.append(Declared(backend_name(item), item))
        return tuple(found)

    def _holder(self, claim: Claim) -> str:
        if not claim.uid:
            return (
                f"the claim in key-value {claim.key!r}, which cannot be read; restore it, or remove it with its object"
            )
        known = f"the BackendConfiguration {claim.object!r}"
        if claim.driver != self._shelf.driver_name:
            return f"{known} of the CSI driver {claim.driver!r}"
        return known if self._watch.is_listed else f"{known}, which cannot be read yet"

    def _state(self, item: Declared, places: Mapping[str, str], doubt: str) -> State:
        try:
            if item.is_owner:
                settings = settings_of(item, self._secret, self._complete)
                self._keep_marks(item)
            else:
                settings = self._settings_of_new(item, places, doubt)
                item = self._claim(item)
        except Refused as error:
            return State(item, refusal=error.refusal)
        except Exception as error:  # a fault in reading this object has no effect on the others
            return State(item, refusal=self._fault(item, error))
        return State(item, replace(settings, drained=settings.drained or item.is_deleting))

    def _fault(self, item: Declared, error: Exception) -> Refusal:
        what = f"unexpected {type(error).__name__}; see the log of the controller"
        if self._warned.get(item.uid) != what:
            _log.exception("back end object not read", error, object=item.object)
        self._warned[item.uid] = what
        return Refusal(INVALID, f"the object cannot be read: {what}")

    def _settings_of_new(self, item: Declared, places: Mapping[str, str], doubt: str) -> BackendSettings:
        """Raises Refused, with all that stands against the object: a file is removed in reliance on it."""
        try:
            settings = settings_of(item, self._secret, self._complete)
        except Refused as wrong:
            try:
                self._check_free(item, places, doubt)
            except Refused as taken:
                raise Refused(
                    taken.refusal.reason, f"{taken}; the object would also be refused then: {wrong}"
                ) from None
            raise
        self._check_free(item, places, doubt)
        return settings

    def _check_free(self, item: Declared, places: Mapping[str, str], doubt: str) -> None:
        """Raises Refused: only a back end that certainly nothing else configures is claimed."""
        if (claim := self._claims.of_backend(item.name)) is not None:
            raise Refused(NAME_IN_USE, f"back end {item.name!r} belongs to {self._holder(claim)}")
        if item.name in places:
            where = places[item.name]
            raise Refused(
                NAME_IN_USE,
                f"back end {item.name!r} is already configured in {where}; remove it there, or rename the object",
            )
        if (
            item.is_deleting and not item.is_kept
        ):  # a kept one whose claim was lost is claimed again: it may have volumes
            raise Refused(NOT_CLAIMED, "the object is being deleted")
        if doubt:
            raise Refused(NOT_CLAIMED, f"files that cannot be read may configure back end {item.name!r}: {doubt}")

    def _claim(self, item: Declared) -> Declared:
        """Mark the object, which only one CSI driver can, and store the claim. A claim without a mark is completed later."""
        claim = Claim(backend=item.name, uid=item.uid, object=item.object, driver=self._shelf.driver_name)
        with self._patiently(item):
            found = self._shelf.mark(item.found)
            reach("back-end.marked")
            self._claims.take(claim)
            reach("back-end.claimed")
        _log.info("back end object claimed", backend=item.name, object=item.object)
        return Declared(item.name, found, is_owner=True)

    @contextmanager
    def _patiently(self, item: Declared) -> Iterator[None]:
        """Raises Refused: another driver was faster, the object has changed, or the store refuses the claim."""
        ends, before = self._pauses.get(item.uid, (-math.inf, None))
        began = self._now()
        if before is not None and began < ends:
            raise before
        try:
            yield
        except DriverError as error:
            refused = Refused(NOT_CLAIMED, f"the object could not be claimed: {error}")
            if self._now() - began > SLOW_SECONDS:
                self._pauses[item.uid] = (self._now() + PAUSE_SECONDS, refused)
            raise refused from None

    def _keep_marks(self, item: Declared) -> None:
        """Restore a mark that was removed. Its lack has no effect on the claim."""
        if item.is_deleting or self._shelf.is_marked(item.found):
            return
        try:
            with self._patiently(item):
                self._shelf.mark(item.found)
        except Refused as error:
            if self._is_new(item.uid, reason := str(error)):
                _log.warning("back end object not marked", object=item.object, reason=reason)

    def _secret(self, name: str) -> Mapping[str, bytes]:
        """Raises Refused."""
        watch = self._secrets[name]
        if isinstance(watch.failure, ApiError) and watch.failure.status == 403:
            raise Refused(
                UNREADABLE,
                f"spec.secretRef.name: the controller may not read the Secret {name!r}; add it to `backendObjects.secrets` of the chart's values",
            )
        if not watch.is_listed:
            why = f": {watch.failure}" if watch.failure else ""
            raise Refused(UNREAD, f"spec.secretRef.name: the Secret {name!r} has not been read yet{why}")
        if (found := watch.objects.get(name)) is None:
            raise absent(name)
        return secret_data(name, found)

    def _follow_secrets(self, declared: Iterable[Declared]) -> None:
        """Watch each Secret by its name: the controller has no right to list others."""
        wanted = {name for item in declared if (name := specs.secret_name(item.spec))}
        for name in self._secrets.keys() - wanted:
            self._end(name)
        for name in sorted(wanted - self._secrets.keys()):
            path = f"/api/v1/namespaces/{self._namespace}/secrets"
            with self._guard:
                if self._is_closed:
                    return
                self._secrets[name] = self._open(name, path, _essence_of_secret, fieldSelector=f"metadata.name={name}")

    def _open(self, key: str, path: str, essence: Callable[[Json], object], **selector: str) -> Watch:
        client = self._clients[key] = self._connect()
        return Watch(client, path, selector=selector, changed=self._changed, essence=essence)

    def _end(self, key: str) -> None:
        watch = self._secrets.pop(key) if key else self._watch
        watch.close()
        self._clients.pop(key).close()

    def _log_failure(self) -> None:
        """Log once that the objects cannot be watched, and once that they can again."""
        reason = str(self._watch.failure or "")
        if bool(reason) != bool(self._told):
            if reason:
                _log.warning("back end objects not watched", reason=reason)
            else:
                _log.info("back end objects watched again")
        self._told = reason


def _essence_of_object(found: Json) -> object:
    """All but the status, which this controller writes itself."""
    metadata = found["metadata"]
    keys = ("uid", "labels", "finalizers", "deletionTimestamp", "generation")
    return found.get("spec"), [metadata.get(key) for key in keys]


def _essence_of_secret(found: Json) -> object:
    return found.get("data")
