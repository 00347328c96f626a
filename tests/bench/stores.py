"""Metadata stores against the bare way to the same data, in the same minute: groups `store-NAME` of `make bench`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.api import Store
from tests.bench.rows import Row
from tests.bench.store_beds import BEDS, WALK_PAGE, Bed, Raw, volume
from tests.support.servers.server import Unavailable
from tools.lookup import Missing

SIZES: Mapping[str, tuple[int, ...]] = {"kubernetes": (1_000,)}
LARGE: Mapping[str, tuple[int, ...]] = {"kubernetes": (1_000, 10_000)}
"""The volumes in the store, where they are not those of USUAL and ALL."""
USUAL, ALL = (1_000, 10_000), (1_000, 10_000, 100_000)
WRITERS = 16
ROUNDS, EACH = 10, 12
"""Ours and the bare one take turns, a few calls each, so that what else the machine does strikes both."""
WALKS = 3
SERVERS = ("postgresql", "mariadb", "mysql")
TIMES = 3
"""What a database server's store may cost, in raw SQL of the same minute."""
PAGE_MS, PAGE_AIM_MS = 5.0, 1.5
"""For a page of 100 in SQLite at any depth."""
CALLS = {"create": 2, "get": 1, "page of 100": 1}
"""Requests to the API server that an operation may take."""

Call = Callable[[Volume], object]


def groups(*, large: bool = False) -> Mapping[str, Callable[[Path], Iterator[Row]]]:
    """Each store's measurement; `large` goes on to 100,000 volumes (custom resources: 10,000), which takes minutes."""
    usual, own = (ALL, LARGE) if large else (USUAL, SIZES)
    return {f"store-{name}": partial(measure, name, sizes=own.get(name, usual)) for name in BEDS}


def measure(name: str, directory: Path, *, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Every operation at each size. A server that cannot be had is said so on standard error."""
    made = 0
    try:
        with BEDS[name](directory) as bed:
            for size in sizes:
                with ThreadPoolExecutor(WRITERS) as pool:
                    list(pool.map(lambda number: bed.store.add(volume(number)), range(made, size)))
                made = size
                yield from _at(name, bed, size)
    except (Unavailable, Missing) as reason:
        print(f"store-{name}: skipped: {reason}", file=sys.stderr)


def _at(name: str, bed: Bed, size: int) -> Iterator[Row]:
    new = [volume(1_000_000 + number) for number in range(ROUNDS * EACH)]
    bare = [volume(2_000_000 + number) for number in range(ROUNDS * EACH)]
    old = [volume(number * size // (ROUNDS * EACH)) for number in range(ROUNDS * EACH)]
    for operation, (ours, raw) in _operations(bed).items():
        subjects = (new, bare) if operation in ("create", "update", "delete") else (old, old)
        before = bed.calls() if bed.calls else 0
        value, floor = _take_turns((ours, subjects[0]), (raw, subjects[1]))
        yield _row(name, f"{name}, {size:,}: {operation}", value, floor, bed.raw.named)
        if bed.calls and operation in CALLS:
            calls = (bed.calls() - before) / (ROUNDS * EACH)
            yield Row(f"{name}, {size:,}: {operation}", "calls", calls, CALLS[operation], 1)
    value, floor = _best(lambda: _walk(bed.store), lambda: _raw_walk(bed.raw))
    yield _row(name, f"{name}, {size:,}: full walk", value, floor, bed.raw.named)


def _row(name: str, what: str, seconds: float, floor: float, floor_is: str) -> Row:
    value, floor = seconds * 1e3, floor * 1e3
    budget, aim = (TIMES * floor, 2 * floor) if name in SERVERS else (None, None)
    if name == "sqlite" and what.endswith("page of 100"):
        budget, aim = PAGE_MS, PAGE_AIM_MS
    return Row(what, "ms", value, budget, aim, floor, floor_is)


def _operations(bed: Bed) -> Mapping[str, tuple[Call, Call]]:
    """Through the store, and the bare way."""
    store, raw = bed.store, bed.raw
    stored: dict[str, Volume] = {}

    def put(record: Volume) -> None:
        stored[record.id] = record

    return {
        "create": (lambda subject: put(store.add(subject)), raw.create),
        "get": (lambda subject: store.get(Volume, subject.id), raw.get),
        "get by name": (lambda subject: store.page(Volume, where={"name": subject.name}), raw.get_by_name),
        "update": (lambda subject: put(store.replace(stored[subject.id])), raw.update),
        "page of 100": (
            lambda subject: store.page(Volume, after=subject.id, where={"backend": "array1"}),
            lambda subject: raw.page(subject.id, 100),
        ),
        "delete": (lambda subject: store.remove(stored.pop(subject.id)), raw.delete),
    }


def _take_turns(*sides: tuple[Call, list[Volume]]) -> list[float]:
    """Seconds of a call of each side: the lower quartile, for what else runs on the machine only ever adds."""
    taken: list[list[float]] = [[] for _ in sides]
    for start in range(0, ROUNDS * EACH, EACH):
        for (call, subjects), times in zip(sides, taken, strict=True):
            for subject in subjects[start : start + EACH]:
                started = time.perf_counter()
                call(subject)
                times.append(time.perf_counter() - started)
    return [sorted(times)[len(times) // 4] for times in taken]


def _best(*works: Callable[[], None]) -> list[float]:
    """Seconds of each, which take turns: the best of a few."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(WALKS):
        for work, times in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return [min(times) for times in taken]


def _walk(store: Store) -> None:
    after, more = "", True
    while more:
        after = store.page(Volume, after=after, limit=WALK_PAGE, where={"backend": "array1"}).next
        more = bool(after)


def _raw_walk(raw: Raw) -> None:
    ids = raw.page("", WALK_PAGE)
    while len(ids) == WALK_PAGE:
        ids = raw.page(ids[-1], WALK_PAGE)
