"""Export and import of all records between stores of any plugin, in a file with one record per line.

    {"format": "csi-cinderlib/export", "v": 1}
    {"v": 1, "kind": "volume", "id": ...}             output of `codec.encode`; volumes before dependent records
    ...
    {"records": {"volume": 2, ...}, "sha256": ...}    of all bytes before this line

Both directions are verified: an export reads the store again, and an import reads the store after filling it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO

from csi_cinderlib.errors import AlreadyExists, CorruptRecord, InvalidRequest, OperationPending, PreconditionFailed
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import KINDS, Sealer, Store
from csi_cinderlib.persistence.iteration import PAGE, pages

FORMAT = "csi-cinderlib/export"
VERSION = 1
WRITERS = 8
"""Threads that import in parallel, because a server is slow for a single caller."""

LONGEST_LINE = 64 << 20
"""Bytes. The lines of an export are much shorter; another file, such as a disk image, may have no line end at all."""

Key = tuple[str, str]
"""Kind and id."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """Transferred records by kind, and the ("kind", "id") of unreadable records that were skipped on request."""

    records: Mapping[str, int]
    corrupt: tuple[Key, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.records.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {kind}" for kind, count in self.records.items())
        return f"{self.total} records, verified" + (f" ({parts})" if parts else "")


def export(
    store: Store,
    path: Path,
    *,
    sealer: Sealer | None = None,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Write a new file with mode 0600, which appears only when it is complete. Secrets are in plain text without a sealer.

    Raises:
        InvalidRequest: the file exists or cannot be created.
        CorruptRecord: a record cannot be read, so the export would be incomplete.
        OperationPending: the store was changed during the export.
    """
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        raise InvalidRequest(str(path), "already exists")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidRequest(str(part), f"cannot be created: {error.strerror}") from None
    try:
        with os.fdopen(fd, "wb") as stream:
            done = write(store, stream, sealer=sealer, skip_corrupt=skip_corrupt, progress=progress)
            stream.flush()
            os.fsync(fd)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def import_(store: Store, path: Path, *, sealer: Sealer | None = None, progress: Progress | None = None) -> Transferred:
    """Import a file that `export` wrote. Raises the errors of `read`."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InvalidRequest(str(path), f"cannot be read: {error.strerror}") from None
    with stream:
        return read(store, stream, sealer=sealer, name=str(path), progress=progress)


def write(
    store: Store,
    stream: BinaryIO,
    *,
    sealer: Sealer | None = None,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Like `export`, to an open file."""
    whole, progress = hashlib.sha256(), progress or Progress("")

    def line(value: object) -> None:
        text = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        whole.update(text)
        stream.write(text)

    line({"format": FORMAT, "v": VERSION})
    exported, corrupt = Content(), list[Key]()
    for record in progress.over("records exported", _records(store, corrupt)):
        line(codec.encode(record, sealer))
        exported.add(record)
    if corrupt and not skip_corrupt:
        raise CorruptRecord(
            *corrupt[0], "the export would be incomplete; `csi-cinderlib export --skip-corrupt` leaves it out"
        )
    if Content.of(progress.over("records verified", _records(store))) != exported:
        raise OperationPending("the store was changed during the export; stop the controllers and try again")
    line({"records": dict(exported.counts), "sha256": whole.hexdigest()})
    return Transferred(dict(exported.counts), tuple(corrupt))


def read(
    store: Store,
    stream: BinaryIO,
    *,
    sealer: Sealer | None = None,
    name: str = "the file",
    progress: Progress | None = None,
    content: Content | None = None,
) -> Transferred:
    """Import the records of an export. An interrupted import can be repeated: records that exist must be identical.

    The file is read several times from the start, one record at a time, so that memory use does not depend on its size.

    Args:
        content: what `examine` returned for this file; without it, the file is examined first.

    Raises:
        InvalidRequest: the data are damaged, truncated, or not an export of this version; nothing was added.
        CorruptRecord: a record cannot be read, or its key is missing; nothing was added.
        AlreadyExists: the store contains a record that is not in the export; nothing was added.
        PreconditionFailed: the store differs from the imported data afterwards.
    """
    progress = progress or Progress("")
    wanted = content or examine(stream, sealer=sealer, name=name, progress=progress)

    def records() -> Iterator[Any]:
        return (_record(body, sealer) for body in _verified(stream, name))

    present = {digest(record) for record in _records(store)}
    if present:
        _check_present(store, present, records, name)
    add_all(
        store,
        (
            record
            for record in progress.over("records imported", records())
            if not present or digest(record) not in present
        ),
    )
    if Content.of(progress.over("records verified", _records(store))) != wanted:
        raise PreconditionFailed("the store differs from the imported data; check that no other process writes to it")
    return Transferred(dict(wanted.counts))


def examine(
    stream: BinaryIO, *, sealer: Sealer | None = None, name: str = "the file", progress: Progress | None = None
) -> Content:
    """Check a whole export and every record in it, without a store.

    Raises:
        InvalidRequest: the data are damaged, truncated, or not an export of this version.
        CorruptRecord: a record cannot be read, or its key is missing.
    """
    progress = progress or Progress("")
    for _ in progress.over("records checked", _verified(stream, name)):  # no record of a damaged file is decoded
        pass
    return Content.of(_record(body, sealer) for body in _verified(stream, name))


def _check_present(store: Store, present: Collection[bytes], records: Callable[[], Iterator[Any]], name: str) -> None:
    """Raises AlreadyExists if the store contains a record that is not in the export."""
    foreign = set(present)
    for record in records():
        foreign.discard(digest(record))
    if not foreign:
        return
    key = next(_key(record) for record in _records(store) if digest(record) in foreign)
    is_known = any(_key(record) == key for record in records())
    raise AlreadyExists(
        *key, f"its content differs from {name}" if is_known else f"it is not in {name}; import into an empty store"
    )


@dataclass(slots=True)
class Content:
    """An order-independent summary of records. Two stores with equal summaries have the same records."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0
    """The sum of the digests."""

    def add(self, record: Any) -> None:
        self.counts[codec.kind_name(type(record))] += 1
        self.total = (self.total + int.from_bytes(digest(record))) % 2**256

    @classmethod
    def of(cls, records: Iterable[Any]) -> Content:
        content = cls()
        for record in records:
            content.add(record)
        return content


def _records(store: Store, corrupt: list[Key] | None = None) -> Iterator[Any]:
    """Yield all records in an order in which they can be added. Keys of unreadable records are appended to `corrupt`."""
    kinds: Sequence[Any] = KINDS
    for kind in kinds:
        for page in pages(store, kind):
            yield from page.records
            if corrupt is not None:
                corrupt += [(codec.kind_name(kind), id) for id in page.corrupt]


def _key(record: Any) -> Key:
    return codec.kind_name(type(record)), record.id


def digest(record: Any) -> bytes:
    """The digest of the content with kind and id, without the revision, which differs between stores."""
    return hashlib.sha256(json.dumps(codec.encode(record), sort_keys=True).encode()).digest()


def add_all(store: Store, records: Iterable[Any]) -> None:
    """Add records kind by kind in the order of the export, because dependent records need their volume."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for _, of_kind in groupby(records, type):
            while batch := list(islice(of_kind, PAGE)):
                for _ in pool.map(store.add, batch):
                    pass


def _record(body: dict[str, Any], sealer: Sealer | None) -> Any:
    kind: Any = codec.BY_NAME.get(str(body.get("kind")))
    if kind is None:
        raise InvalidRequest(f"kind {body.get('kind')!r}", "is unknown; the export is from a newer csi-cinderlib")
    return codec.decode(kind, body, id=str(body.get("id", "")), sealer=sealer)


def _verified(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of the records. Raises for any damage of the file, at the latest after the last record."""
    stream.seek(0)
    whole, counts = hashlib.sha256(), Counter[str]()
    body: dict[str, Any] = {}
    line = b""
    for number, line, is_last in _lines(stream):
        body = _object(line, f"{name}:{number}")
        if number == 1:
            _check_head({} if is_last else body, name)
        elif not is_last:
            kind = str(body.get("kind"))
            counts[kind] += 1
            yield body
        if not is_last:
            whole.update(line)
    if "sha256" not in body or not line.endswith(b"\n"):
        raise InvalidRequest(name, "is truncated: the last line is missing")
    if body["sha256"] != whole.hexdigest():
        raise InvalidRequest(name, "is damaged: the checksum does not match")
    if dict(counts) != body.get("records"):
        raise InvalidRequest(name, f"is damaged: it contains {dict(counts)}, but declares {body.get('records')}")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Yield each line with its number and whether it is the last one. An empty file yields one empty line."""
    line = stream.readline(LONGEST_LINE)
    for number in count(1):
        following = stream.readline(LONGEST_LINE)
        yield number, line, not following
        if not following:
            return
        line = following


def _check_head(head: Mapping[str, Any], name: str) -> None:
    if head.get("format") != FORMAT:
        raise InvalidRequest(name, f"must have the format {FORMAT!r}")
    if head.get("v") != VERSION:
        raise InvalidRequest(name, f"unsupported version {head.get('v')!r}; supported: {VERSION}")


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidRequest(place, "is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest(place, "must be a JSON object")
    return body
