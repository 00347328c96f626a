"""Copies of records, and of what is in them, are what `dataclasses.replace` makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, InitVar, dataclass, field
from typing import Any

import pytest

from csi_cinderlib.backend.stats import BackendStats, Pool
from csi_cinderlib.model.making import maker, replace
from csi_cinderlib.model.records import Provider, Source, SourceKind, VolumeType
from csi_cinderlib.persistence.contract.samples import RECORDS, VOLUME


@dataclass(frozen=True, slots=True)
class Even:
    number: int
    name: str = ""

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError(self.number)


@dataclass(frozen=True)
class Open:
    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Derived(Source):
    note: str = ""


@dataclass(frozen=True, slots=True)
class Single:
    number: int


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Referable:
    number: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    number: int
    count: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    number: int
    name: str = ""
    unit: InitVar[str] = "GiB"


PARTS = (
    VOLUME.provider,
    VolumeType(name="gold"),
    Source(SourceKind.VOLUME, "1"),
    Pool(name="one", free=3.0),
    BackendStats(pools=(Pool(name="one"),)),
    Even(2, "a"),
    Open(1, "a"),
    Derived(SourceKind.VOLUME, "1", "a"),
    Single(1),
    Referable(1, "a"),
    Counted(1),
    Prepared(1, "a"),
)


@pytest.mark.parametrize("instance", [*RECORDS, *PARTS], ids=lambda instance: type(instance).__name__)
def test_a_copy_has_the_new_values_and_all_others(instance: Any) -> None:
    name = dataclasses.fields(instance)[0].name
    before = copy.deepcopy(instance)
    value = 4 if isinstance(getattr(instance, name), int) else "new"
    changed = replace(instance, **{name: value})
    assert type(changed) is type(instance)
    assert changed == dataclasses.replace(instance, **{name: value})
    assert repr(changed) == repr(dataclasses.replace(instance, **{name: value}))
    assert replace(instance) == instance == before
    assert replace(instance) is not instance
    assert pickle.loads(pickle.dumps(changed)) == changed  # made a line before
    with pytest.raises(FrozenInstanceError):
        setattr(changed, name, value)


def test_a_value_that_the_class_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        replace(Even(2), number=3)


def test_a_name_that_is_no_field_is_refused() -> None:
    for instance in (VOLUME, Provider(), Open(1), Single(1)):
        for name in ("colour", "__class__"):
            with pytest.raises(TypeError, match=f"got an unexpected keyword argument '{name}'"):
                replace(instance, **{name: "red"})  # type: ignore[arg-type]


def test_a_field_that_is_not_given_is_not_replaced_and_not_made() -> None:
    with pytest.raises(ValueError, match="count is declared with init=False"):
        replace(Counted(1), count=2)
    with pytest.raises(TypeError, match="count"):
        maker(Counted)({"number": 1, "count": 2})
    assert maker(Counted)({"number": 1}) == Counted(1)


def test_what_is_made_is_what_the_class_makes() -> None:
    assert maker(Referable)({"number": 1}) == Referable(1)
    assert maker(Prepared)({"number": 1, "unit": "MiB"}) == Prepared(1)
