"""Updates the StorageBackend objects, sends events when a back end becomes ready or fails, and restarts back ends on request of an
annotation.

Several controllers may see the same back ends. Each one writes its own changes at once. While nothing changes, the last writer refreshes
the object, and the others take over only after it has fallen silent. So the object shows the latest change and its observer, and two
controllers with different views do not overwrite each other in turn.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from csi_cinderlib.app import conditions
from csi_cinderlib.app.backend_views import NO_VIEW, View
from csi_cinderlib.app.observations import Observations, Seen
from csi_cinderlib.config.objects import path_in_object
from csi_cinderlib.errors import DriverError, NotFound
from csi_cinderlib.model import times
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.kubernetes.resources import RESTARTED_AT
from csi_cinderlib.persistence.kubernetes.statuses import Statuses, object_name

FIRST_SECONDS = 1.0
"""Delay of the first update, so that it does not slow down the start."""
REFRESH_SECONDS = 120.0
"""Interval between two writes without changes: capacities drift, and `observedAt` shows that the observation is current."""
SILENT_SECONDS = 2.5 * REFRESH_SECONDS
"""Without a refresh for this time, the data of another controller may be overwritten or removed."""
COUNT_SECONDS = 600.0
"""Interval between two counts of the volumes, which read all records."""
EVENT_SECONDS = 60.0
"""Minimum interval between two events on a back end. Only the last of several changes in that time is sent, if it is a change."""
Json = dict[str, Any]
_log = logs.logger(__name__)


@dataclass(slots=True)
class _Sign:
    """The `observedAt` of an object, and the time at which this process first saw it. Clocks of different machines are never compared."""

    text: str = ""
    since: float = -math.inf

    def read(self, text: str, now: float) -> bool:
        """Update from the object; returns whether its writer has fallen silent."""
        if text != self.text:
            self.text, self.since = text, now
        return now - self.since > SILENT_SECONDS


@dataclass(slots=True)
class _Shown:
    """State of one object as known to this process.

    Attributes:
        news: the last observation that was written or found in the object.
        told: the observation of the last event of any controller.
    """

    news: Json = field(default_factory=dict)
    looked_at: float = -math.inf
    sign: _Sign = field(default_factory=_Sign)
    told: Json | None = None
    told_at: float = -math.inf


class BackendStatus:
    """Call `update` periodically, in one thread. An unavailable API server is logged once and has no other effect.

    Args:
        restart: restarts the driver's process of a back end. Raises NotFound.
        view: how the configuration of a back end is regarded.
        check_lease: raises LeaseLost if this process must not act any more.
        controller: name of the pod of this process.
    """

    def __init__(  # noqa: PLR0913  # keyword-only, and most have defaults
        self,
        statuses: Statuses,
        observations: Observations,
        store: Store,
        *,
        restart: Callable[[str], object],
        view: Callable[[Seen], View] = lambda _seen: NO_VIEW,
        check_lease: Callable[[], None] = lease.unshared,
        controller: str,
        clock: Callable[[], datetime] = times.utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statuses = statuses
        self._observations = observations
        self._store = store
        self._restart = restart
        self._view = view
        self._check_lease = check_lease
        self._controller = controller
        self._clock = clock
        self._now = monotonic
        self._shown: dict[str, _Shown] = {}
        self._strangers: dict[str, _Sign] = {}
        self._swept_at = -math.inf
        self._volumes: Mapping[str, int] = {}
        self._counted_at = -math.inf
        self._failing = False
        self._mute = False

    def update(self) -> None:
        """Write changes to the objects."""
        seen = {look.name: presentable(look) for look in self._observations.look()}
        steps = [partial(self._restart_annotated, seen)]
        steps += [partial(self._show, look) for look in seen.values() if not look.starting]
        steps += [partial(self._remove_gone, seen), partial(self._sweep, seen)]
        worked = [self._works(step) for step in steps]
        if all(worked) and self._failing:
            _log.info("back end status updates resumed")
            self._failing = False

    def _works(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except DriverError as error:
            if not self._failing:
                _log.warning("back end status update failed", reason=str(error))
            self._failing = True
            return False
        return True

    def _restart_annotated(self, seen: Mapping[str, Seen]) -> None:
        """Restart back ends with the annotation. The restart is recorded first: if this process ends in between, the driver's process ends
        with it."""
        names = {object_name(name): name for name in seen}
        for found in self._statuses.all():
            metadata, status = found["metadata"], found.get("status") or {}
            name = names.get(metadata["name"], "")
            wanted = (metadata.get("annotations") or {}).get(RESTARTED_AT, "")
            if not name or wanted in {"", status.get("restartedAt")}:
                continue
            self._check_lease()
            self._statuses.write(found, {**status, "restartedAt": wanted})
            with suppress(NotFound):  # an entry may stand for an unreadable file
                self._restart(name)
                self._send(found, "BackendRestarting", f"Restarting back end {name} as requested")

    def _show(self, seen: Seen) -> None:
        view = self._view(seen)
        if view.declared is not None:
            seen = replace(seen, reason=path_in_object(seen.reason, seen.name))
        shown, now = self._shown.setdefault(seen.name, _Shown()), self._now()
        news = news_of(seen, view)
        if news != shown.news or now - shown.looked_at >= REFRESH_SECONDS:
            self._write(seen, view, shown, news)
            shown.news, shown.looked_at = news, now
        topic = _topic(news)
        if topic != shown.told and now - shown.told_at >= EVENT_SECONDS:
            shown.told_at = now  # also if it cannot be sent
            if self._tell(seen):
                shown.told = topic

    def _write(self, seen: Seen, view: View, shown: _Shown, news: Json) -> None:
        """Write the status, unless another controller maintains it or has already reported the same change."""
        found = self._statuses.ensure(seen.name, seen.driver)
        present: Json = found.get("status") or {}
        known = {key: present.get(key) for key in news} | {
            "conditions": conditions.untimed(present.get("conditions") or [])
        }
        silent = shown.sign.read(present.get("observedAt", ""), self._now())
        mine = present.get("controller") == self._controller
        first, changed = shown.told is None, news != shown.news
        if first or known == news:
            shown.told = _topic(known)
        if first or (known != news if changed else mine or silent):
            status = self._status(seen, view) | {key: present[key] for key in ("restartedAt",) if key in present}
            status["conditions"] = conditions.timed(
                news["conditions"], present.get("conditions") or [], status["observedAt"]
            )
            self._statuses.write(found, status)
            shown.sign.read(status["observedAt"], self._now())

    def _stamp(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _tell(self, seen: Seen) -> bool:
        note = f"Back end {seen.name} is {'ready' if seen.ready else 'not ready'}"
        return self._send(
            self._statuses.ensure(seen.name, seen.driver),
            "BackendReady" if seen.ready else "BackendNotReady",
            f"{note}: {seen.reason}" if seen.reason else note,
            warning=bool(seen.reason),
        )

    def _send(self, found: Json, reason: str, note: str, *, warning: bool = False) -> bool:
        """Send an event; returns whether it was sent."""
        try:
            self._statuses.tell(found, reason=reason, note=note, warning=warning, now=self._clock())
        except DriverError as error:
            if not self._mute:
                _log.warning("back end event not sent", reason=str(error))
            self._mute = True
            return False
        self._mute = False
        return True

    def _status(self, seen: Seen, view: View) -> Json:
        figures = capacity((pool.total, pool.free) for pool in seen.stats.pools) if seen.stats else {}
        return {
            "ready": seen.ready,
            "reason": seen.reason,
            **({"protocol": seen.stats.protocol} if seen.stats else {}),
            **figures,
            "volumes": self._volumes_of(seen.name, view),
            "observedAt": self._stamp(),
            "controller": self._controller,
        }

    def _volumes_of(self, name: str, view: View) -> int:
        """While a creation is in progress, the remains are not counted."""
        remains = view.remains
        return remains.volumes if remains is not None and not remains.is_open else self._count().get(name, 0)

    def _count(self) -> Mapping[str, int]:
        if self._now() - self._counted_at >= COUNT_SECONDS:
            records = list(walk(self._store, Volume))
            self._volumes = Counter(record.backend for record in records if record.status is not Status.DELETED)
            self._counted_at = self._now()
        return self._volumes

    def _remove_gone(self, seen: Collection[str]) -> None:
        for name in [name for name in self._shown if name not in seen]:
            self._statuses.remove(object_name(name))
            del self._shown[name]

    def _sweep(self, seen: Collection[str]) -> None:
        """Remove stale objects of back ends that were removed while no controller was running."""
        if self._now() - self._swept_at < REFRESH_SECONDS:
            return
        ours = {object_name(name) for name in seen}
        found = {item["metadata"]["name"]: item.get("status") or {} for item in self._statuses.all()}
        self._strangers = {name: self._strangers.get(name, _Sign()) for name in found if name not in ours}
        for name, sign in self._strangers.items():
            if sign.read(found[name].get("observedAt", ""), self._now()):
                self._statuses.remove(name)
        self._swept_at = self._now()


def news_of(seen: Seen, view: View = NO_VIEW) -> Json:
    """Values that need an immediate write. Other values wait for the next refresh."""
    found = [
        {key: value for key, value in item.items() if key != "observedGeneration"}  # of another object
        for item in conditions.conditions(seen, view)
    ]
    return {"ready": seen.ready, "reason": seen.reason, "conditions": found}


def _topic(news: Json) -> Json:
    """The values that an event tells. The reason includes that of a refused configuration."""
    return {key: news[key] for key in ("ready", "reason")}


def capacity(pools: Iterable[tuple[float | None, float | None]]) -> Json:
    """Sums of total and free space of all pools in whole GiB. A sum is left out if a pool does not limit or report its value."""
    columns = zip(("totalGiB", "freeGiB"), zip(*pools, strict=True), strict=False)
    return {
        name: math.floor(sum(values))
        for name, values in columns
        if all(value is not None and math.isfinite(value) for value in values)
    }


def presentable(seen: Seen) -> Seen:
    """The observation as it can be shown."""
    return replace(seen, reason=conditions.shortened(redact.text(seen.reason)))
