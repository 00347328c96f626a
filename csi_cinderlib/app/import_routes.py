"""Imports of existing volumes and snapshots on the administration socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from csi_cinderlib.app.routes import Request, Routes
from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence import codec
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin

KINDS: Mapping[str, type[Volume] | type[Snapshot]] = {"volume": Volume, "snapshot": Snapshot}

Answer = dict[str, object]
Body = Mapping[str, Any]


class ImportRoutes:
    """Routes for imports. Request bodies are JSON objects with the fields of `Origin` and `ImportVolume`, and `dry_run`.

    Args:
        importing: returns the imports of this controller. Raises NotReady.
        working: held during a change, so that the process does not end in the meantime.
    """

    def __init__(self, importing: Callable[[], Importing], working: AbstractContextManager[Any]) -> None:
        self._importing = importing
        self._working = working

    def offer(self, routes: Routes) -> None:
        routes.add("GET", "/manageable/KIND/BACKEND", self._list)
        routes.add("POST", "/imports/volume", self._volume)
        routes.add("POST", "/imports/snapshot", self._snapshot)
        routes.add("POST", "/imports/KIND/undo", self._undo)

    def _list(self, request: Request) -> Answer:
        snapshots = _kind(request) is Snapshot
        found = self._importing().candidates(request.names["backend"], snapshots=snapshots)
        return {"found": [asdict(item) for item in found]}

    def _volume(self, request: Request) -> Answer:
        body = request.body
        size = body.get("size")
        wanted = ImportVolume(
            origin=_origin(body),
            pool=_text(body, "pool"),
            size=GiB(size) if isinstance(size, int) else None,
            round_up=bool(body.get("round_up")),
            block=bool(body.get("block")),
            fs_type=_text(body, "fs_type"),
            access_modes=_modes(body),
            encryption=_text(body, "encryption"),
            labels=_labels(body),
        )
        importing = self._importing()
        with self._working:
            record = importing.volume(wanted, dry_run=bool(body.get("dry_run")))
        return {"record": codec.encode_for_display(record), "topology": importing.topology(record.backend)}

    def _snapshot(self, request: Request) -> Answer:
        body = request.body
        volume, dry_run = _text(body, "volume"), bool(body.get("dry_run"))
        with self._working:
            record = self._importing().snapshot(_origin(body), volume, _labels(body), dry_run=dry_run)
        return {"record": codec.encode_for_display(record)}

    def _undo(self, request: Request) -> Answer:
        kind: Any = _kind(request)
        with self._working:
            undone = self._importing().undo(kind, _origin(request.body), dry_run=bool(request.body.get("dry_run")))
        record = codec.encode_for_display(undone.record) if undone.record is not None else None
        return {"record": record, "name": undone.name, "ids": list(undone.ids)}


def _kind(request: Request) -> type[Volume] | type[Snapshot]:
    if (kind := KINDS.get(request.names["kind"])) is None:
        raise NotFound("kind", request.names["kind"], f"cannot be imported; kinds: {', '.join(KINDS)}")
    return kind


def _origin(body: Body) -> Origin:
    return Origin(
        backend=_text(body, "backend"),
        name=_text(body, "name"),
        by_id=bool(body.get("by_id")),
        static=bool(body.get("static")),
        unchecked=bool(body.get("unchecked")),
        within=_text(body, "pool") or _text(body, "volume"),
    )


def _modes(body: Body) -> tuple[AccessMode, ...]:
    """Raises InvalidRequest."""
    given = body.get("access_modes")
    if not isinstance(given, list) or not given:
        raise InvalidRequest("access_modes", "must be a list of access modes of CSI")
    known = {mode.value: mode for mode in AccessMode}
    for mode in given:
        if mode not in known:
            raise InvalidRequest("access_modes", f"unknown access mode {mode!r}; known: {', '.join(known)}")
    return tuple(known[mode] for mode in given)


def _labels(body: Body) -> dict[str, str]:
    return {str(key): str(value) for key, value in dict(body.get("labels") or {}).items()}


def _text(body: Body, name: str) -> str:
    """Raises InvalidRequest."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise InvalidRequest(name, "must be text")
    return value
