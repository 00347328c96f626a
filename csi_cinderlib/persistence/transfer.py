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


def export(
    store: Store,
    path: Path,
    *,
    sealer: Sealer | None = None,
    skip_corrupt: bool = False,
    progress: Progress | None = None,
) -> Transferred:
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
            done = write(store, stream, sealer=sealer, skip_corrupt=skip_corrupt, progress=progress)
            stream.flush()
            os.fsync(fd)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return done


def import_(store: Store, path: Path, *, sealer: Sealer | None = None, progress: Progress | None = None) -> Transferred:
    """Add what `export` wrote. Raises what `read` raises."""
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
    """As `export`, to an open file."""
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
        raise CorruptRecord(*corrupt[0], "the export would lack it")
    if Content.of(progress.over("records verified", _records(store))) != exported:
        raise OperationPending("somebody wrote to the store during the export: stop the controllers first")
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
    """Add the records of an export. One that was broken off can be repeated: what is there already must be the same.

    The file is read from its start several times, one record at a time, so that its size does not matter.

    Args:
        content: what `examine` returned for this file; without it, the file is examined first.

    Raises:
        InvalidRequest: the data are damaged, cut, or not an export of this version; nothing was added.
        CorruptRecord: a record cannot be read, or its key is missing; nothing was added.
        AlreadyExists: the store holds something that the export does not; nothing was added.
        PreconditionFailed: the store does not hold afterwards what was added.
    """
    progress = progress or Progress("")
    wanted = content or examine(stream, sealer=sealer, name=name, progress=progress)

    def records() -> Iterator[Any]:
        return (_record(body, sealer) for body in _verified(stream, name))

    present = {_digest(record) for record in _records(store)}
    if present:
        _check_present(store, present, records, name)
    _add(
        store,
        (
            record
            for record in progress.over("records imported", records())
            if not present or _digest(record) not in present
        ),
    )
    if Content.of(progress.over("records verified", _records(store))) != wanted:
        raise PreconditionFailed("the store does not hold what was imported: is somebody else writing to it?")
    return Transferred(dict(wanted.counts))


def examine(
    stream: BinaryIO, *, sealer: Sealer | None = None, name: str = "the file", progress: Progress | None = None
) -> Content:
    """Check a whole export and every record in it, without a store.

    Raises:
        InvalidRequest: the data are damaged, cut, or not an export of this version.
        CorruptRecord: a record cannot be read, or its key is missing.
    """
    progress = progress or Progress("")
    for _ in progress.over("records checked", _verified(stream, name)):  # no record of a damaged file is decoded
        pass
    return Content.of(_record(body, sealer) for body in _verified(stream, name))


def _check_present(store: Store, present: Collection[bytes], records: Callable[[], Iterator[Any]], name: str) -> None:
    """Raises AlreadyExists when the store holds a record that the export does not."""
    foreign = set(present)
    for record in records():
        foreign.discard(_digest(record))
    if not foreign:
        return
    key = next(_key(record) for record in _records(store) if _digest(record) in foreign)
    is_known = any(_key(record) == key for record in records())
    raise AlreadyExists(*key, f"the store has it and {name} " + ("says otherwise" if is_known else "does not"))


@dataclass(slots=True)
class Content:
    """What a number of records amount to, in whatever order they come: two stores hold the same if this is the same."""

    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0
    """The sum of their digests."""

    def add(self, record: Any) -> None:
        self.counts[codec.kind_name(type(record))] += 1
        self.total = (self.total + int.from_bytes(_digest(record))) % 2**256

    @classmethod
    def of(cls, records: Iterable[Any]) -> Content:
        content = cls()
        for record in records:
            content.add(record)
        return content


def _records(store: Store, corrupt: list[Key] | None = None) -> Iterator[Any]:
    """All records in an order in which they can be added; the keys of those that cannot be read are put into `corrupt`."""
    kinds: Sequence[Any] = KINDS
    for kind in kinds:
        for page in pages(store, kind):
            yield from page.records
            if corrupt is not None:
                corrupt += [(codec.kind_name(kind), id) for id in page.corrupt]


def _key(record: Any) -> Key:
    return codec.kind_name(type(record)), record.id


def _digest(record: Any) -> bytes:
    """Of the content, kind and id included, without the revision, which is each store's own."""
    return hashlib.sha256(json.dumps(codec.encode(record), sort_keys=True).encode()).digest()


def _add(store: Store, records: Iterable[Any]) -> None:
    """Kind by kind, as an export has them, because what belongs to a volume needs it."""
    with ThreadPoolExecutor(WRITERS) as pool:
        for _, of_kind in groupby(records, type):
            while batch := list(islice(of_kind, PAGE)):
                for _ in pool.map(store.add, batch):
                    pass


def _record(body: dict[str, Any], sealer: Sealer | None) -> Any:
    kind: Any = codec.BY_NAME.get(str(body.get("kind")))
    if kind is None:
        raise InvalidRequest(f"kind {body.get('kind')!r}", "is unknown: a newer program made the export")
    return codec.decode(kind, body, id=str(body.get("id", "")), sealer=sealer)


def _verified(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """The records' objects, one after the other. What is wrong with the file is raised at the latest after the last one."""
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
        raise InvalidRequest(name, "is cut: its last line is missing")
    if body["sha256"] != whole.hexdigest():
        raise InvalidRequest(name, "is damaged: its checksum does not fit")
    if dict(counts) != body.get("records"):
        raise InvalidRequest(name, f"holds {dict(counts)} and says that it holds {body.get('records')}")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Each line with its number, and whether it is the last one. An empty file has one empty line."""
    line = stream.readline()
    for number in count(1):
        following = stream.readline()
        yield number, line, not following
        if not following:
            return
        line = following


def _check_head(head: Mapping[str, Any], name: str) -> None:
    if head.get("format") != FORMAT:
        raise InvalidRequest(name, f"is not of the format {FORMAT!r}")
    if head.get("v") != VERSION:
        raise InvalidRequest(name, f"is of version {head.get('v')!r}; this program reads version {VERSION}")


def _object(line: bytes, place: str) -> dict[str, Any]:
    try:
        body = json.loads(line)
    except ValueError:
        raise InvalidRequest(place, "is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest(place, "is not a JSON object")
    return body
