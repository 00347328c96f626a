"""The back ends of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.intake import Intake


class Backends:
    """A set of back ends, which can change while the process runs."""

    def __init__(self, backends: Iterable[Backend] = ()) -> None:
        self._backends: dict[str, Backend] = {backend.name: backend for backend in backends}
        self._guard = threading.Lock()
        self._intakes: dict[str, Intake] = {name: backend.intake for name, backend in self._backends.items()}

    def intake(self, name: str) -> Intake:
        """The intake of all back ends that this process had, has or will have under that name."""
        with self._guard:
            return self._intakes.setdefault(name, Intake(name))

    def get(self, name: str) -> Backend:
        """Return a ready back end.

        Raises:
            BackendUnavailable: the back end is not ready or no longer configured; gives the reason.
        """
        backend = self._backends.get(name)
        if backend is None:
            raise BackendUnavailable(
                name, f"it is no longer configured; configured: {', '.join(sorted(self._backends)) or 'none'}"
            )
        if not backend.ready:
            raise BackendUnavailable(name, backend.failure)
        return backend

    def all(self) -> tuple[Backend, ...]:
        """All back ends, ready or not, in the order of the configuration."""
        return tuple(self._backends.values())

    def may_retype(self) -> bool:
        """Whether a back end can modify volumes. A back end that was not started yet counts, and so does one that may be added."""
        everything = self.all()
        return not everything or any(backend.may_retype for backend in everything)

    @property
    def topologies(self) -> Mapping[str, Mapping[str, str]]:
        """The topology of each back end, as a live view."""
        return _Topologies(self)

    def add(self, backend: Backend) -> None:
        """Add a back end. A back end of the same name is replaced and stopped."""
        backend.intake = self.intake(backend.name)
        backend.apply(backend.settings)
        with self._guard:
            old = self._backends.get(backend.name)
            self._backends = {**self._backends, backend.name: backend}
        if old is not None and old is not backend:
            old.stop()

    def remove(self, name: str) -> None:
        """Stop and remove a back end; its records are kept. Idempotent."""
        with self._guard:
            rest = dict(self._backends)
            old = rest.pop(name, None)
            self._backends = rest
        if old is not None:
            old.stop()


class _Topologies(Mapping[str, Mapping[str, str]]):
    """A view of the registry."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def __getitem__(self, name: str) -> Mapping[str, str]:
        return self._backends._backends[name].settings.topology

    def __iter__(self) -> Iterator[str]:
        return iter(self._backends._backends)

    def __len__(self) -> int:
        return len(self._backends._backends)
