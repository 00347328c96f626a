"""Everything from one store to another, of whatever plugin, by a file of one record a line.

    {"format": "csi-cinderlib/export", "v": 1}
    {"v": 1, "kind": "volume", "id": ...}             as `codec.encode` makes it, volumes before what belongs to them
    ...
    {"records": {"volume": 2, ...}, "sha256": ...}    of all bytes before this line

Both directions are verified: an export reads the store a second time, an import reads the store that it filled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from csi_cinderlib.errors import AlreadyExists, CorruptRecord, InvalidRequest, OperationPending, PreconditionFailed
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import KINDS, Sealer, Store

FORMAT = "csi-cinderlib/export"
VERSION = 1
PAGE = 500
WRITERS = 8
"""Threads that import: a server answers one caller at a time slowly, several at once well."""

Key = tuple[str, str]
"""Kind and id."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was moved: records by kind, and, only if that was asked for, the ("kind", "id") of those that cannot be read."""

    records: Mapping[str, int]
    corrupt: tuple[Key, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {kind}" for kind, count in self.records.items())
        return f"{self.total} records, verified" + (f" ({parts})" if parts else "")


def export(store: Store, path: Path, *, sealer: Sealer | None = None, skip_corrupt: bool = False) -> Transferred:
    """Write a new file of mode 0600 that appears only when it is whole. Secrets are in plain unless a sealer is given.

    Raises:
        InvalidRequest: the file exists or cannot be made.
        CorruptRecord: a record cannot be read, so that the file would lack it.
        OperationPending: somebody wrote to the store meanwhile.
    """
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        raise InvalidRequest(str(path), "exists already")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidRequest(str(part), f"cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(fd, "wb") as stream:
            done = write(store, stream, sealer=sealer, skip_corrupt=skip_corrupt)
            stream.flush()
            os.fsync(fd)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def import_(store: Store, path: Path, *, sealer: Sealer | None = None) -> Transferred:
    """Add what `export` wrote. Raises what `read` raises."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(str(path), f"cannot be read: {error.strerror}") from None
    return read(store, data, sealer=sealer, name=str(path))


def write(store: Store, stream: BinaryIO, *, sealer: Sealer | None = None, skip_corrupt: bool = False) -> Transferred:
    """As `export`, to an open file."""
    whole = hashlib.sha256()

    def line(value: object) -> None:
        text = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        whole.update(text)
        stream.write(text)

    line({"format": FORMAT, "v": VERSION})
    counts, digests, corrupt = _walk(store, lambda record: line(codec.encode(record, sealer)))
    if corrupt and not skip_corrupt:
        raise CorruptRecord(*corrupt[0], "the export would lack it")
    if _walk(store)[1] != digests:
        raise OperationPending("somebody wrote to the store during the export: stop the controllers first")
    line({"records": counts, "sha256": whole.hexdigest()})
    return Transferred(counts, tuple(corrupt))


def read(store: Store, data: bytes, *, sealer: Sealer | None = None, name: str = "the file") -> Transferred:
    """Add the records of an export. One that was broken off can be repeated: what is there already must be the same.

    Raises:
        InvalidRequest: the data are damaged, cut, or not an export of this version; nothing was added.
        CorruptRecord: a record cannot be read, or its key is missing; nothing was added.
        AlreadyExists: the store holds something that the export does not; nothing was added.
        PreconditionFailed: the store does not hold afterwards what was added.
    """
    bodies, counts = _verified(data, name)
    records = [_record(body, sealer) for body in bodies]
    wanted = {_key(record): _digest(record) for record in records}
    present = _walk(store)[1]
    for key, digest in present.items():
        if wanted.get(key) != digest:
            raise AlreadyExists(
                *key, f"the store has it and {name} " + ("says otherwise" if key in wanted else "does not")
            )
    _add(store, [record for record in records if _key(record) not in present])
    if _walk(store)[1] != wanted:
        raise PreconditionFailed("the store does not hold what was imported: is somebody else writing to it?")
    return Transferred(counts)


def _walk(
    store: Store, visit: Callable[[Any], None] | None = None
) -> tuple[dict[str, int], dict[Key, bytes], list[Key]]:
    """All records in an order in which they can be added; how many by kind, their digests, and which cannot be read."""
    counts: Counter[str] = Counter()
    digests: dict[Key, bytes] = {}
    corrupt: list[Key] = []
    kinds: Sequence[Any] = KINDS
    for kind in kinds:
        after, more = "", True
        while more:
            page: Any = store.page(kind, after=after, limit=PAGE)
            for record in page.records:
                if visit is not None:
                    visit(record)
                digests[_key(record)] = _digest(record)
                counts[codec.kind_name(kind)] += 1
            corrupt += [(codec.kind_name(kind), id) for id in page.corrupt]
            after, more = page.next, bool(page.next)
    return dict(counts), digests, corrupt


def _key(record: Any) -> Key:
    return codec.kind_name(type(record)), record.id


def _digest(record: Any) -> bytes:
    """Of the content without the revision, which is each store's own."""
    return hashlib.sha256(json.dumps(codec.encode(record), sort_keys=True).encode()).digest()


def _add(store: Store, records: Sequence[Any]) -> None:
    """Kind by kind, because what belongs to a volume needs it."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for kind in KINDS:
            for _ in pool.map(store.add, [record for record in records if type(record) is kind]):
                pass


def _record(body: dict[str, Any], sealer: Sealer | None) -> Any:
    kind: Any = codec.BY_NAME.get(str(body.get("kind")))
    if kind is None:
        raise InvalidRequest(f"kind {body.get('kind')!r}", "is unknown: a newer program made the export")
    return codec.decode(kind, body, id=str(body.get("id", "")), sealer=sealer)


def _verified(data: bytes, name: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The records' objects and their counts."""
    *lines, last = data.splitlines(keepends=True) or [b""]
    objects = list(_objects([*lines, last], name))
    head, end = (objects[0], objects[-1]) if len(objects) > 1 else ({}, {})
    if head.get("format") != FORMAT:
        raise InvalidRequest(name, f"is not of the format {FORMAT!r}")
    if head.get("v") != VERSION:
        raise InvalidRequest(name, f"is of version {head.get('v')!r}; this program reads version {VERSION}")
    if "sha256" not in end or not last.endswith(b"\n"):
        raise InvalidRequest(name, "is cut: its last line is missing")
    if end["sha256"] != hashlib.sha256(b"".join(lines)).hexdigest():
        raise InvalidRequest(name, "is damaged: its checksum does not fit")
    counts = dict(Counter(str(body.get("kind")) for body in objects[1:-1]))
    if counts != end.get("records"):
        raise InvalidRequest(name, f"holds {counts} and says that it holds {end.get('records')}")
    return objects[1:-1], counts


def _objects(lines: Sequence[bytes], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            body = json.loads(line)
        except ValueError:
            raise InvalidRequest(f"{name}:{number}", "is not JSON") from None
        if not isinstance(body, dict):
            raise InvalidRequest(f"{name}:{number}", "is not a JSON object")
        yield body
