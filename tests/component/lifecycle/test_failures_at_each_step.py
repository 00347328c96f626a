"""The store, or the driver's process, fails at each step of each operation in turn: whoever repeats the operation, or gives it up,
finds records and array in agreement."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from csi_cinderlib.cinder.driver_process import VERBS
from csi_cinderlib.errors import BackendUnavailable, NotFound, StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import R
from tests.support.fakes import makers
from tests.support.fakes.array import SNAPSHOT, VOLUME
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ARRAY, GROUP = "tests.support.fakes.group_array.GroupArrayDriver", "group"
MOST_STEPS = 80
"""More than any operation has."""
KINDS: tuple[Any, ...] = (Volume, Snapshot, Attachment, Group, GroupSnapshot)


class Countdown:
    """Says when to fail: at one step, or from that one on."""

    def __init__(self, *, stays: bool) -> None:
        self._stays = stays
        self._left = 0
        self.has_failed = False

    def set(self, steps: int) -> None:
        """0 is never."""
        self._left, self.has_failed = steps, False

    def is_over(self) -> bool:
        if not self._left:
            return False
        self._left -= 1
        if self._left:
            return False
        self.has_failed = True
        self._left = 1 if self._stays else 0
        return True


class FailingStore(ObservedStore):
    def __init__(self, countdown: Countdown) -> None:
        super().__init__()
        self.countdown = countdown

    def _note(self, call: str, argument: Any) -> None:
        super()._note(call, argument)
        if self.countdown.is_over():
            raise StoreUnavailable(f"{call} was not answered")


def end_under(verb: Callable[..., Any], countdown: Countdown, *, after: bool) -> Callable[..., Any]:
    """Let the driver's process end before or after it does what it is asked for."""

    @functools.wraps(verb)
    def ended(*arguments: Any, **named: Any) -> Any:
        is_dead = countdown.has_failed
        ends = countdown.is_over()
        if ends and (is_dead or not after):
            raise BackendUnavailable("fake", "the driver process has ended")
        answer = verb(*arguments, **named)
        if ends:
            raise BackendUnavailable("fake", "the driver process ended during the call")
        return answer

    return ended


@dataclass
class Site:
    """A back end with two volumes and a snapshot, and what operations make on it."""

    backend: LocalBackend
    store: ObservedStore

    def __post_init__(self) -> None:
        self.volume = self.backend.create_volume(makers.volume(multiattach=True))
        self.other = self.backend.create_volume(makers.volume())
        self.snapshot = self.backend.create_snapshot(makers.snapshot(self.volume))
        self.new = makers.volume()
        self.restored = makers.volume(source=self.snapshot)
        self.clone = makers.volume(source=self.volume)
        self.taken = makers.snapshot(self.volume)
        self.attachment = makers.attachment(self.volume)
        self.together = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
        self.members = [makers.snapshot(self.volume), makers.snapshot(self.other)]

    def current(self, record: R) -> R | None:
        try:
            return self.store.get(type(record), record.id)
        except NotFound:
            return None

    def create(self, record: Volume) -> None:
        current = self.current(record)
        if current is None:
            self.backend.create_volume(record)
        else:
            self.backend.resume_create_volume(current)

    def take(self) -> None:
        current = self.current(self.taken)
        if current is None:
            self.backend.create_snapshot(self.taken)
        else:
            self.backend.resume_create_snapshot(current)

    def take_together(self) -> None:
        try:
            self.backend.resume_create_group_snapshot(self.store.get(GroupSnapshot, self.together.id))
        except NotFound:  # or it died too early to know its members
            self.backend.create_group_snapshot(self.together, self.members)

    def delete(self, record: Any) -> None:
        if (current := self.current(record)) is None:
            return
        if isinstance(current, Volume):
            self.backend.delete_volume(current)
        elif isinstance(current, Snapshot):
            self.backend.delete_snapshot(current)
        else:
            self.backend.delete_group_snapshot(current)

    def extend(self) -> None:
        self.backend.extend_volume(self.store.get(Volume, self.volume.id), GiB(2))

    def revert(self) -> None:
        self.backend.revert_volume(self.store.get(Volume, self.volume.id), self.snapshot)

    def connect(self) -> None:
        self.backend.connect(self.store.get(Volume, self.volume.id), self.attachment)

    def disconnect(self) -> None:
        if (current := self.current(self.attachment)) is not None:
            self.backend.disconnect(current)

    def check(self) -> None:
        """What holds whenever nothing is under way."""
        driver: Any = self.backend.driver
        array = driver.array
        volumes, snapshots, attachments, groups, together = (self.store.page(kind).records for kind in KINDS)
        finished = (*volumes, *snapshots, *attachments, *together)
        assert {(record.status, record.owner, record.message) for record in finished} == {(Status.AVAILABLE, "", "")}
        sizes = sorted((f"volume-{record.id}", record.size) for record in volumes)
        assert sorted((lun.name, lun.size) for lun in array.luns(VOLUME)) == sizes
        names = sorted(f"snapshot-{record.id}" for record in snapshots)
        assert sorted(lun.name for lun in array.luns(SNAPSHOT)) == names
        mapped = {(lun.name, host) for lun in array.luns(VOLUME) for host in lun.hosts}
        assert mapped == {(f"volume-{record.volume_id}", record.node_id) for record in attachments}
        assert [lun.name for lun in array.luns(GROUP)] == [f"group-{record.id}" for record in groups]
        assert [record.group_id for record in together] == [record.id for record in groups]

    def clear(self) -> None:
        """Everything can be taken down."""
        self.disconnect()
        for record in (self.together, self.taken, self.snapshot, self.restored, self.clone, self.new):
            self.delete(record)
        for record in (self.volume, self.other):
            self.delete(record)
        driver: Any = self.backend.driver
        assert [lun for kind in (VOLUME, SNAPSHOT, GROUP) for lun in driver.array.luns(kind)] == []
        assert [self.store.page(kind).records for kind in KINDS] == [()] * len(KINDS)


Step = Callable[[Site], object]


def nothing(_site: Site) -> None:
    pass


OPERATIONS: dict[str, tuple[Step, Step, Step]] = {
    "create": (nothing, lambda site: site.create(site.new), lambda site: site.delete(site.new)),
    "restore": (nothing, lambda site: site.create(site.restored), lambda site: site.delete(site.restored)),
    "clone": (nothing, lambda site: site.create(site.clone), lambda site: site.delete(site.clone)),
    "delete": (lambda site: site.create(site.new), lambda site: site.delete(site.new), nothing),
    "extend": (nothing, Site.extend, nothing),
    "extend attached": (Site.connect, Site.extend, nothing),
    "revert": (nothing, Site.revert, nothing),
    "snapshot": (nothing, Site.take, lambda site: site.delete(site.taken)),
    "delete snapshot": (Site.take, lambda site: site.delete(site.taken), nothing),
    "connect": (nothing, Site.connect, Site.disconnect),
    "disconnect": (Site.connect, Site.disconnect, nothing),
    "group snapshot": (nothing, Site.take_together, lambda site: site.delete(site.together)),
    "delete group snapshot": (Site.take_together, lambda site: site.delete(site.together), nothing),
}
"""What it needs, the operation itself, and how it is given up; `nothing` where it is only ever repeated."""
CASES = [
    pytest.param(before, act, act if undo is nothing else undo, id=f"{name}{given_up and ', given up'}")
    for name, (before, act, give_up) in OPERATIONS.items()
    for given_up, undo in (("", nothing), (name, give_up))
    if not given_up or undo is not nothing
]


def fail_at_each_step(
    start: Callable[[], Site], countdown: Countdown, before: Step, act: Step, afterwards: Step, error: type[Exception]
) -> None:
    for steps in range(1, MOST_STEPS):
        site = start()
        before(site)
        countdown.set(steps)
        try:
            act(site)
        except error:
            assert countdown.has_failed
        has_failed = countdown.has_failed
        countdown.set(0)
        if not has_failed:
            assert steps > 1
            return
        afterwards(site)
        site.check()
        site.clear()
        site.backend.stop()
    raise AssertionError("it does not end")


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize(("before", "act", "afterwards"), CASES)
def test_a_store_that_fails_at_any_call(
    make: MakeBackend, before: Step, act: Step, afterwards: Step, *, stays: bool
) -> None:
    countdown = Countdown(stays=stays)

    def start() -> Site:
        store = FailingStore(countdown)
        return Site(make(driver=ARRAY, store=store), store)

    fail_at_each_step(start, countdown, before, act, afterwards, StoreUnavailable)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stays", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize(("before", "act", "afterwards"), CASES)
def test_a_drivers_process_that_ends_at_any_call(
    make: MakeBackend, before: Step, act: Step, afterwards: Step, *, stays: bool, after: bool
) -> None:
    countdown = Countdown(stays=stays)

    def start() -> Site:
        store = ObservedStore()
        site = Site(make(driver=ARRAY, store=store), store)
        for name in VERBS:
            setattr(site.backend.verbs, name, end_under(getattr(site.backend.verbs, name), countdown, after=after))
        return site

    fail_at_each_step(start, countdown, before, act, afterwards, BackendUnavailable)
