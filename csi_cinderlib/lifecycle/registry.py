"""All back ends of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.backend import Backend


class Backends:
    """Several back ends at once; they may come and go while the process runs."""

    def __init__(self, backends: Iterable[Backend] = ()) -> None:
        self._backends: dict[str, Backend] = {backend.name: backend for backend in backends}
        self._guard = threading.Lock()

    def get(self, name: str) -> Backend:
        """A back end that is ready.

        Raises:
            BackendUnavailable: it is not ready, or not configured any more; says why.
        """
        backend = self._backends.get(name)
        if backend is None:
            raise BackendUnavailable(name, "it is not configured any more")
        if not backend.ready:
            raise BackendUnavailable(name, backend.failure)
        return backend

    def all(self) -> tuple[Backend, ...]:
        """In the order of the configuration, ready or not."""
        return tuple(self._backends.values())

    @property
    def topologies(self) -> Mapping[str, Mapping[str, str]]:
        """From where each can be reached, as it is now and later."""
        return _Topologies(self)

    def add(self, backend: Backend) -> None:
        """Take in a back end, or replace the one of the same name, which is stopped."""
        with self._guard:
            old = self._backends.get(backend.name)
            self._backends = {**self._backends, backend.name: backend}
        if old is not None and old is not backend:
            old.stop()

    def remove(self, name: str) -> None:
        """Stop a back end and forget it; its records stay. Not there is fine."""
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
