"""The metadata store in a driver process: forwards each operation to the controller."""

from __future__ import annotations

from typing import Any, Protocol

from csi_cinderlib.backend.frames import Unsendable
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Page, R, Store, Traits, Where

_EVERYTHING: Where = {}


class Controller(Protocol):
    """Calls the controller: `channels.Serving`."""

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any: ...


class RemoteStore:
    """See `persistence.api.Store`."""

    def __init__(self, controller: Controller, traits: Traits) -> None:
        self._controller = controller
        self.traits = traits

    def add(self, record: R) -> R:
        return self._write("store.add", record)

    def replace(self, record: R) -> R:
        return self._write("store.replace", record)

    def _write(self, name: str, record: R) -> R:
        try:
            written: R = self._controller.call(name, record)
        except Unsendable:
            codec.to_text(record, None)  # raises an error that names the field
            raise
        return written

    def get(self, kind: type[R], id: str) -> R:
        found: R = self._controller.call("store.get", kind, id)
        return found

    def remove(self, record: R) -> None:
        self._controller.call("store.remove", record)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = _EVERYTHING) -> Page[R]:
        found: Page[R] = self._controller.call("store.page", kind, after=after, limit=limit, where=where)
        return found

    def close(self) -> None:
        """Nothing to do: the controller closes the store."""


OPERATIONS = ("add", "get", "replace", "remove", "page")


def served(store: Store) -> dict[str, object]:
    """The handlers that the controller provides for it."""
    return {f"store.{name}": getattr(store, name) for name in OPERATIONS}
