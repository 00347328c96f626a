"""State of each back end, without waiting for it: a hanging array does not hide the state of the others."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend.stats import BackendStats
from csi_cinderlib.backend.verbs import NOT_STARTED
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.observe import logs, redact

LOOK_SECONDS = 5.0
"""Interval between two looks, which do not load an array."""
ASK_SECONDS = 30.0
"""Interval between two queries of an array; `stats_seconds` applies instead if it is longer and the array is healthy."""
PATIENCE = 20.0
"""Seconds after which a query counts as unanswered if answers are usually fast. With the two intervals above, a hanging array is detected
within a minute."""
LONGEST_PATIENCE = 180.0
START_SECONDS = 50.0
"""After this time a starting back end is reported as not ready."""
PROMPT = 0.2
"""Seconds that a look waits for answers to its queries; most arrays answer within this time."""
_UNKNOWN = 20.0
"""Assumed response time of a back end before its first answer, in seconds."""

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The observed state of a back end.

    Attributes:
        ready: it is set up and answered the last query.
        reason: why it is not ready, or another problem; without secrets.
        starting: it started too recently for a statement about it.
        stats: its last report minus the volumes created since; None if it is not ready.
        settings: those of the back end that was observed; None without one.
    """

    name: str
    driver: str = ""
    ready: bool = False
    reason: str = ""
    starting: bool = False
    stats: BackendStats | None = None
    settings: BackendSettings | None = field(default=None, repr=False)


def _nothing() -> Mapping[str, str]:
    return {}


class Observations:
    """Observes all back ends. Thread-safe.

    Args:
        unreadable: returns why configuration of back ends cannot be read, by the name of the back end or file.
    """

    def __init__(
        self,
        backends: Backends,
        *,
        unreadable: Callable[[], Mapping[str, str]] = _nothing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backends = backends
        self._unreadable = unreadable
        self._now = monotonic
        self._questions: dict[Backend, _Question] = {}
        self._guard = threading.Lock()

    def look(self) -> tuple[Seen, ...]:
        """All back ends, including those with unreadable configuration."""
        with self._guard:
            known = self._questions
            self._questions = {
                backend: known.get(backend) or _Question(backend, self._now) for backend in self._backends.all()
            }
            questions = self._questions.values()
            asked = [thread for question in questions if (thread := question.ask())]
            ends = time.monotonic() + PROMPT
            for thread in asked:
                thread.join(max(0.0, ends - time.monotonic()))
            looks = [question.look() for question in questions]
        seen = {look.name: look for look in looks}
        for name, reason in self._unreadable().items():
            look = seen.get(name, Seen(name=name))
            seen[name] = replace(look, reason=f"{look.reason}; {reason}" if look.reason else reason)
        return tuple(seen.values())


class _Question:
    """A query to one back end, in its own thread and never repeated before the answer."""

    def __init__(self, backend: Backend, monotonic: Callable[[], float]) -> None:
        self._backend = backend
        self._now = monotonic
        self._born = monotonic()
        self._every = max(ASK_SECONDS, backend.settings.stats_seconds)
        self._asked_at = -math.inf
        self._thread: threading.Thread | None = None
        self._failure = ""
        self._told = ""
        self._needed: deque[float] = deque(maxlen=5)

    def ask(self) -> threading.Thread | None:
        """Send the query if it is due; returns its thread."""
        if not self._backend.ready:
            self._failure, self._asked_at = "", -math.inf  # query it at once after its next start
            return None
        pause = ASK_SECONDS if self._failure else self._every  # the failure may come from a process that has ended
        if self._running() or self._now() - self._asked_at < pause:
            return None
        self._asked_at = self._now()
        self._thread = threading.Thread(target=self._answer, name=f"ask-{self._backend.name}", daemon=True)
        self._thread.start()
        return self._thread

    def look(self) -> Seen:
        backend = self._backend
        seen = Seen(name=backend.name, driver=backend.settings.driver, settings=backend.settings)
        if not backend.ready:
            self._told = ""
            return self._not_ready(seen)
        reason = self._silence() or self._failure
        self._tell(reason)
        if reason:
            return replace(seen, reason=reason)
        return replace(seen, ready=True, stats=backend.known_stats, reason=backend.remark)

    def _not_ready(self, seen: Seen) -> Seen:
        if self._backend.failure != NOT_STARTED:
            return replace(seen, reason=self._backend.failure)
        return replace(seen, reason="is still starting", starting=self._now() - self._born < START_SECONDS)

    def _answer(self) -> None:
        asked_at = self._asked_at
        try:
            self._backend.stats(refresh=True)
        except DriverError as error:
            self._failure = redact.of_backend(error, secret_values.of_options(self._backend.settings))
        else:
            self._failure = ""
            self._needed.append(self._now() - asked_at)

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _silence(self) -> str:
        """Why it is not ready if a query is unanswered, or "". Some healthy arrays need a minute for every answer."""
        patience = min(max(PATIENCE, 3 * max(self._needed, default=_UNKNOWN)), LONGEST_PATIENCE)
        silent = self._running() and self._now() - self._asked_at > patience
        return f"has not responded for {patience:.0f} s" if silent else ""

    def _tell(self, reason: str) -> None:
        """Log once that the back end does not respond, and once that it responds again."""
        if bool(reason) != bool(self._told):
            if reason:
                _log.warning("back end not responding", backend=self._backend.name, reason=reason)
            else:
                _log.info("back end responding again", backend=self._backend.name)
        self._told = reason
