"""How each back end is, as far as that is known without waiting for it: an array that hangs hides nothing of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from csi_cinderlib.backend.stats import BackendStats
from csi_cinderlib.backend.verbs import NOT_STARTED
from csi_cinderlib.errors import DriverError
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.observe import redact

ASK_SECONDS = 60.0
"""Between two questions to an array that is well. A look costs it nothing in between."""
PATIENCE = 60.0
"""Seconds after which a back end that is starting, or was asked, is said not to answer."""
PROMPT = 0.2
"""Seconds that a look waits for the answer to a question that it asks: most arrays are that quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One back end.

    Attributes:
        ready: it is set up, and answered when it was last asked.
        reason: why it is not, or what else is wrong with it; without secrets.
        starting: for so short a time that nothing can be said about it.
        stats: its last report, unless it is not ready.
    """

    name: str
    driver: str = ""
    ready: bool = False
    reason: str = ""
    starting: bool = False
    stats: BackendStats | None = None


def _nothing() -> Mapping[str, str]:
    return {}


class Observations:
    """Thread-safe.

    Args:
        unreadable: reasons why the configuration of back ends cannot be read, by the name of the back end, or of the file.
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
        """All back ends, also those whose configuration cannot be read."""
        with self._guard:
            known = self._questions
            self._questions = {
                backend: known.get(backend) or _Question(backend, self._now) for backend in self._backends.all()
            }
            looks = [question.look() for question in self._questions.values()]
        seen = {look.name: look for look in looks}
        for name, reason in self._unreadable().items():
            look = seen.get(name, Seen(name=name))
            seen[name] = replace(look, reason=f"{look.reason}; {reason}" if look.reason else reason)
        return tuple(seen.values())


class _Question:
    """To one back end, asked in a thread of its own and never a second time before the answer."""

    def __init__(self, backend: Backend, monotonic: Callable[[], float]) -> None:
        self._backend = backend
        self._now = monotonic
        self._born = monotonic()
        self._asked_at: float | None = None
        self._thread: threading.Thread | None = None
        self._stats: BackendStats | None = None
        self._failure = ""

    def look(self) -> Seen:
        backend = self._backend
        seen = Seen(name=backend.name, driver=backend.settings.driver)
        if not backend.ready:
            self._stats = None
            return self._not_ready(seen)
        self._ask()
        reason = f"does not answer for {PATIENCE:.0f} seconds" if self._waited() > PATIENCE else self._failure
        if reason:
            return replace(seen, reason=reason)
        return replace(seen, ready=True, stats=self._stats, reason=backend.remark)

    def _not_ready(self, seen: Seen) -> Seen:
        if self._backend.failure != NOT_STARTED:
            return replace(seen, reason=self._backend.failure)
        return replace(seen, reason="is still starting", starting=self._now() - self._born < PATIENCE)

    def _ask(self) -> None:
        if self._running() or (self._asked_at is not None and self._now() - self._asked_at < ASK_SECONDS):
            return
        self._asked_at = self._now()
        self._thread = threading.Thread(target=self._answer, name=f"ask-{self._backend.name}", daemon=True)
        self._thread.start()
        self._thread.join(PROMPT)

    def _answer(self) -> None:
        try:
            self._stats = self._backend.stats()
        except DriverError as error:
            self._failure = redact.of_backend(error, self._backend.settings.options)
        else:
            self._failure = ""

    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _waited(self) -> float:
        return self._now() - self._asked_at if self._running() and self._asked_at is not None else 0.0
