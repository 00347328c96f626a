"""Records that the caller keeps: `dump` gives everything as one JSON text, `load` brings it back exactly, revisions too.

The text is versioned. Fields, kinds of records and whole records that this version does not know or cannot read are kept and
written again. `dump_record` and `load_record` do the same for a single record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import KINDS, R, Sealer, Store
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import check_options

FORMAT = "csi-cinderlib/records"
VERSION = 1


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:  # noqa: ARG001  # a plugin takes it
    """The plugin. Its one option, `document`, is what `StatelessStore.dump` gave, if anything."""
    check_options(options, ("document",))
    store = StatelessStore(sealer)
    if document := options.get("document"):
        try:
            store.load(str(document))
        except InvalidRequest as wrong:
            raise ConfigurationError("store.options.document", wrong.problem) from wrong
    return store


class StatelessStore(MemoryStore):
    """A store in memory whose contents the caller takes along as text."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        super().__init__(sealer)
        self._foreign: list[Any] = []

    def dump(self) -> str:
        """Everything, secrets sealed if there is a sealer and in plain otherwise."""
        with self._lock:
            records = [
                {"kind": codec.kind_name(kind), "id": id, "revision": row.revision, "record": _as_json(row.body)}
                for kind in KINDS
                for id, row in self._tables[kind].rows.items()
            ]
            return json.dumps(
                {"format": FORMAT, "v": VERSION, "records": records + self._foreign}, separators=(",", ":")
            )

    def load(self, document: str) -> None:
        """Take over what `dump` gave, in addition to what is here; a record of the same id is replaced.

        Raises:
            InvalidRequest: it is not such a document, or is one of a newer, incompatible version.
        """
        records = _records(document)
        loaded = []
        for item in records:
            try:
                kind = codec.BY_NAME.get(item["kind"])
                loaded.append((kind, item["id"], item["revision"], item["record"], item))
            except (KeyError, TypeError):
                raise InvalidRequest("document", "holds a record without kind, id and revision") from None
        with self._lock:
            for kind, id, revision, body, item in loaded:
                if kind is None:
                    self._foreign.append(item)
                else:
                    self._put_raw(kind, id, revision, json.dumps(body, separators=(",", ":")))


def dump_record(record: Record, sealer: Sealer | None = None) -> str:
    """One record with its revision, as text."""
    body = codec.encode(record, sealer)
    return json.dumps(
        {"format": FORMAT, "v": VERSION, "revision": record.revision, "record": body}, separators=(",", ":")
    )


def load_record(kind: type[R], text: str, sealer: Sealer | None = None) -> R:
    """What `dump_record` gave.

    Raises:
        InvalidRequest: it is something else.
        CorruptRecord: the record in it cannot be read.
    """
    document = _document(text)
    body = document.get("record")
    id = body.get("id") if isinstance(body, dict) else None
    return codec.decode(kind, body, id=str(id), revision=str(document.get("revision", "")), sealer=sealer)


def _records(text: str) -> list[Any]:
    records = _document(text).get("records")
    if not isinstance(records, list):
        raise InvalidRequest("document", "holds no list of records")
    return records


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("document", "is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidRequest("document", f"is not of the format {FORMAT!r}")
    if document.get("v") != VERSION:
        raise InvalidRequest("document", f"is of version {document.get('v')!r}; this program reads version {VERSION}")
    return document


def _as_json(body: str) -> Any:
    """A text that is no JSON is a corrupt record: it is taken along as it is."""
    try:
        return json.loads(body)
    except ValueError:
        return body
