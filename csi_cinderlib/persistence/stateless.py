"""A store for callers that keep the records themselves: `dump` returns all records as one JSON text, `load` restores them exactly.

The text is versioned. Unknown fields and kinds, and unreadable records, are kept and written again. `dump_record` and `load_record`
do the same for a single record.
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


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:  # noqa: ARG001  # required by the protocol
    """The plugin `stateless`. Its only option, `document`, is the optional output of `StatelessStore.dump`."""
    check_options(options, ("document",))
    store = StatelessStore(sealer)
    if document := options.get("document"):
        try:
            store.load(str(document))
        except InvalidRequest as wrong:
            raise ConfigurationError("store.options.document", wrong.problem) from wrong
    return store


class StatelessStore(MemoryStore):
    """A store in memory whose contents the caller keeps as text."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        super().__init__(sealer)
        self._foreign: list[Any] = []

    def dump(self) -> str:
        """Return all records. Secrets are sealed with a sealer and in plain text otherwise."""
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
        """Add the output of `dump` to this store. Records with the same id are replaced.

        Raises:
            InvalidRequest: it is not such a document, or it is of a newer, incompatible version.
        """
        records = _records(document)
        loaded = []
        for item in records:
            try:
                kind = codec.BY_NAME.get(item["kind"])
                loaded.append((kind, item["id"], item["revision"], item["record"], item))
            except (KeyError, TypeError):
                raise InvalidRequest("document", "contains a record without kind, id and revision") from None
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
    """Return the record in the output of `dump_record`.

    Raises:
        InvalidRequest: the text is not such output.
        CorruptRecord: the record in it cannot be read.
    """
    document = _document(text)
    body = document.get("record")
    id = body.get("id") if isinstance(body, dict) else None
    return codec.decode(kind, body, id=str(id), revision=str(document.get("revision", "")), sealer=sealer)


def _records(text: str) -> list[Any]:
    records = _document(text).get("records")
    if not isinstance(records, list):
        raise InvalidRequest("document", "contains no list of records")
    return records


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest("document", "is not valid JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidRequest("document", f"must have the format {FORMAT!r}")
    if document.get("v") != VERSION:
        raise InvalidRequest("document", f"unsupported version {document.get('v')!r}; supported: {VERSION}")
    return document


def _as_json(body: str) -> Any:
    """Parse the body. A corrupt body, which is not JSON, is kept as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body
