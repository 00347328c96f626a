"""Where the back ends of a controller are configured: its settings, the directory of back ends, and BackendConfiguration objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from csi_cinderlib.app.object_states import NAME_IN_USE, Reading, State
from csi_cinderlib.app.reconfiguration import STILL_USED
from csi_cinderlib.config import live
from csi_cinderlib.config.objects import path_in_object
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs, redact

if TYPE_CHECKING:
    from csi_cinderlib.app.backend_objects import BackendObjects

NOTHING_READ = Reading((), {})

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Configured:
    """The back ends that are configured now.

    Attributes:
        keeps: whether a running back end must go on although it is not among them: its configuration cannot be read at present.
    """

    backends: tuple[BackendSettings, ...]
    keeps: Callable[[str], bool]


class Sources:
    """Only one thread at a time calls `read`.

    Args:
        objects: None outside Kubernetes.
    """

    def __init__(self, settings: Settings, objects: BackendObjects | None = None) -> None:
        self._settings = settings
        self._objects = objects
        self._files: dict[str, Path] = {}
        self._unreadable: Mapping[Path, ConfigurationError] = {}
        self._ignored: Collection[Path] = ()
        self._clashes: Mapping[str, str] = {}
        self._in_files: Collection[str] = ()
        self._reading = NOTHING_READ

    @property
    def can_change(self) -> bool:
        """Whether back ends can be added or corrected while the process runs."""
        return bool(self._settings.backends_directory) or self._objects is not None

    @property
    def states(self) -> tuple[State, ...]:
        """The objects, as they were last read."""
        return self._reading.states

    def owner(self, name: str) -> State | None:
        """The object for which a back end is claimed."""
        return next((state for state in self.states if state.declared.is_owner and state.declared.name == name), None)

    def is_object(self, name: str) -> bool:
        """Whether the back end is configured by an object."""
        return name in self._reading.held

    def is_unreadable(self, name: str) -> bool:
        """Whether the claim on a back end cannot be read, so that it may belong to any object."""
        return name in self._reading.unreadable

    def has_file(self, name: str) -> bool:
        """Whether files that can be read configure a back end of that name, and have it or would take it over."""
        return name in self._in_files

    def may_have_file(self, name: str) -> bool:
        """Whether files configure a back end of that name, as far as it is known. They may not be readable at present."""
        return name in self._in_files or name in self._files

    def read(self) -> Configured:
        """The current configuration. Each problem is logged once, not at every call. Raises StoreUnavailable."""
        found = self._read_files()
        places = self._places(found)
        files = {backend.name: backend for backend in found.backends}
        if self._objects is None:
            return Configured(tuple(files.values()), lambda _name: bool(found.broken))
        before = self._reading.held
        reading = self._reading = self._objects.read(places, "; ".join(map(str, found.broken)))
        self._in_files = files.keys()
        self._note_clashes({name: place for name, place in places.items() if name in reading.held})
        wanted = {name: backend for name, backend in files.items() if name not in reading.held}
        wanted |= {state.settings.name: state.settings for state in reading.states if state.settings is not None}
        gone = before.keys() - reading.held.keys()
        waiting = {state.declared.name for state in reading.states if state.is_waiting}
        return Configured(
            tuple(wanted.values()),
            lambda name: name in reading.held or name in waiting or (bool(found.broken) and name not in gone),
        )

    def unreadable(self) -> Mapping[str, str]:
        """Why configuration cannot be used, by the back ends that keep their previous configuration, otherwise by file name."""
        reasons: dict[str, str] = {}
        reading, clashes = self._reading, self._clashes  # another thread may read anew meanwhile
        for path, error in self._unreadable.items():
            names = [name for name, file in self._files.items() if file == path]
            kept = f"; {STILL_USED}" if names else ""
            for name in names or [path.stem]:
                reasons[name] = f"{redact.text(str(error))}{kept}"
        for name, place in clashes.items():
            if holder := reading.held.get(name):
                _add(reasons, name, f"belongs to {holder}; its configuration in {place} has no effect")
        for name in (reading.unreadable | reading.unlisted) - clashes.keys():
            _add(reasons, name, f"belongs to {reading.held[name]}")
        for state in reading.states:
            self._add_refusal(reasons, state)
        return reasons

    def _add_refusal(self, reasons: dict[str, str], state: State) -> None:
        name = state.declared.name
        if state.refusal is None:
            return
        message = redact.text(state.refusal.message)
        if state.declared.is_owner:
            _add(reasons, name, f"{message}; {STILL_USED}")
        elif state.refusal.reason != NAME_IN_USE:  # otherwise the back end of that name is not that of the object
            _add(reasons, name, message)

    def explained(self, name: str, reason: str) -> str:
        """The reason with the key paths of the place where the back end is configured."""
        return path_in_object(reason, name) if self.is_object(name) else reason

    def _read_files(self) -> live.Found:
        found = live.backends(self._settings)
        before = set(map(str, self._unreadable.values()))
        for reason in sorted(set(map(str, found.broken)) - before):
            _log.error("back end configuration not readable", reason=reason)
        for path in set(found.ignored) - set(self._ignored):
            _log.warning("back end file ignored", path=str(path), reason="its name must end in .yaml, .yml or .json")
        self._ignored = found.ignored
        unread = {name: file for name, file in self._files.items() if {file, file.parent} & found.unreadable.keys()}
        self._files = {**unread, **found.files}
        self._unreadable = found.unreadable
        return found

    def _places(self, found: live.Found) -> dict[str, str]:
        """Where files configure each back end, including those that cannot be read at present."""
        fixed = {backend.name: "the configuration of the controller" for backend in found.backends}
        return fixed | {name: f"the file {path.name}" for name, path in self._files.items()}

    def _note_clashes(self, clashes: Mapping[str, str]) -> None:
        for name in clashes.keys() - self._clashes.keys():
            _log.error("back end configured twice", backend=name, used="object", ignored=clashes[name])
        self._clashes = clashes


def _add(reasons: dict[str, str], name: str, reason: str) -> None:
    reasons[name] = "; ".join([*filter(None, [reasons.get(name)]), reason])
