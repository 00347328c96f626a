"""The back ends of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.backend import Backend


class Backends:
    """A set of back ends, which can change while the process runs."""

    def __init__(self, backends: Iterable[Backend] = ()) -> None:
        self._backends: dict[str, Backend] = {backend.name: backend for backend in backends}
        self._guard = threading.Lock()

    def get(self, name: str) -> Backend:
        """Return a ready back end.

        Raises:
            BackendUnavailable: the back end is not ready or no longer configured; gives the reason.
        """
        backend = self._backends.get(name)
        if backend is None:
            raise BackendUnavailable(name, "it is no longer configured")
        if not backend.ready:
            raise BackendUnavailable(name, backend.failure)
        return backend

    def all(self) -> tuple[Backend, ...]:
        """All back ends, ready or not, in the order of the configuration."""
        return tuple(self._backends.values())

    @property
    def topologies(self) -> Mapping[str, Mapping[str, str]]:
        """The topology of each back end, as a live view."""
        return _Topologies(self)

    def add(self, backend: Backend) -> None:
        """Add a back end. A back end of the same name is replaced and stopped."""
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
