"""How the configuration of each back end is regarded: accepted, refused with a reason, or being checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.app.object_states import Declared, Refusal, State
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.app.reconfiguration import for_driver
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.observe import redact

REJECTED = "OptionsRejected"
UNREADABLE = "ConfigurationUnreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The configuration of a back end.

    Attributes:
        declared: the object that configures it; None if files do.
        refusal: why its present configuration is not in effect.
        is_pending: it is being checked.
        in_effect: generation of the object whose configuration was observed, or was last refused before any was; 0 if it is unknown.
        settings: of the running back end; None without one.
        is_busy: it is provisioning; what was begun before a pause goes on.
        remains: volumes and snapshots, of a back end that is drained or deleted.
    """

    declared: Declared | None = None
    refusal: Refusal | None = None
    is_pending: bool = False
    in_effect: int = 0
    settings: BackendSettings | None = None
    is_busy: bool = False
    remains: Remains | None = None


NO_VIEW = View()


class Views:
    """Remembers which generation of each object is in effect.

    Args:
        remains: proves that a drained back end is empty, or tells what is left.
    """

    def __init__(self, running: RunningBackends, remains: Callable[[str], Remains]) -> None:
        self._running = running
        self._remains = remains
        self._in_effect: dict[str, int] = {}

    def of(self, seen: Seen) -> View:
        """The view of an observed back end. Raises StoreUnavailable."""
        if (state := self._running.sources.owner(seen.name)) is not None:
            return self.of_object(state, seen)
        settings = self._running.settings(seen.name)
        refusal, is_busy = self._refusal_of_files(seen.name), self._running.is_busy(seen.name)
        return View(
            refusal=refusal, settings=settings, is_busy=is_busy, remains=self._left(settings, is_deleting=False)
        )

    def of_object(self, state: State, seen: Seen) -> View:
        """The view of an object.

        Args:
            seen: the back end of that name, whose state is that of the object if the back end is claimed for it.
        """
        declared, name, wanted = state.declared, state.declared.name, state.settings
        is_used = wanted is not None and self._running.uses(wanted)  # before the refusal, which an attempt ends with
        refusal = _hidden(state.refusal) or (self._rejection(name) if declared.is_owner else None)
        if not declared.is_owner:
            is_kept = declared.is_deleting and declared.is_kept
            left = self._remains(name) if is_kept else None
            return View(declared=declared, refusal=refusal, in_effect=declared.generation, remains=left)
        settings = self._running.settings(name)
        is_seen = wanted is not None and (seen.settings is None or for_driver(seen.settings) == for_driver(wanted))
        return View(
            declared=declared,
            refusal=refusal,
            is_pending=refusal is None and not is_used,
            in_effect=self._generation(declared, seen, is_used=is_used and is_seen and refusal is None),
            settings=settings,
            is_busy=self._running.is_busy(name),
            remains=self._left(settings, is_deleting=declared.is_deleting, name=name),
        )

    def _left(self, settings: BackendSettings | None, *, is_deleting: bool, name: str = "") -> Remains | None:
        is_drained = settings is not None and settings.drained
        return self._remains(settings.name if settings is not None else name) if is_drained or is_deleting else None

    def _generation(self, declared: Declared, seen: Seen, *, is_used: bool) -> int:
        """Of a back end that was ready before it was first seen with the options of its object, it is unknown: 0."""
        if is_used:
            self._in_effect[declared.uid] = declared.generation
        return self._in_effect.get(declared.uid, 0 if seen.ready else declared.generation)

    def _refusal_of_files(self, name: str) -> Refusal | None:
        reason = self._running.sources.unreadable().get(name)
        return Refusal(UNREADABLE, reason) if reason else self._rejection(name)

    def _rejection(self, name: str) -> Refusal | None:
        reason = self._running.rejected.get(name) or str(self._running.wrong.get(name, ""))
        return Refusal(REJECTED, redact.text(self._running.sources.explained(name, reason))) if reason else None


def _hidden(refusal: Refusal | None) -> Refusal | None:
    return Refusal(refusal.reason, redact.text(refusal.message)) if refusal is not None else None
