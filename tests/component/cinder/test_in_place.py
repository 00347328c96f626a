"""Drivers are kept from copying volumes, and get the review of the class that defines their `retype`."""

from __future__ import annotations

import pytest

from csi_cinderlib.backend import retypes
from csi_cinderlib.backend.retypes import NONE, Retypes
from csi_cinderlib.cinder import in_place
from csi_cinderlib.cinder.runtime import Runtime


def test_a_driver_has_the_review_of_the_class_whose_retype_it_inherits(runtime: Runtime) -> None:
    from cinder.volume.drivers import solidfire

    class Same(solidfire.SolidFireDriver):  # type: ignore[misc]  # Cinder has no types
        pass

    class Changed(solidfire.SolidFireDriver):  # type: ignore[misc]
        def retype(self, *_: object) -> bool:
            return True

    class Declared(Changed):
        RETYPES = Retypes(online=("qos/x",))

    assert in_place.retypes(Same) == in_place.retypes(solidfire.SolidFireDriver) != NONE
    assert in_place.retypes(Changed) == NONE
    assert in_place.retypes(Declared) == Retypes(online=("qos/x",))


def test_a_driver_without_retype_has_none(runtime: Runtime) -> None:
    from cinder.volume.drivers import nfs

    assert in_place.retypes(nfs.NfsDriver) == NONE


PATHS = [path for family in retypes.families() for path in family.never]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.rpartition(".drivers.")[2])
def test_methods_that_copy_are_replaced_when_a_driver_is_loaded(path: str, runtime: Runtime) -> None:
    from oslo_utils import importutils

    cls, _, method = path.rpartition(".")
    family = next(family for family in retypes.families() if path in family.never)
    owner = importutils.import_class(cls)
    assert method in vars(owner)
    in_place.never_copy(importutils.import_class(family.drivers[0]))
    with pytest.raises(in_place.WouldCopy):
        getattr(owner, method)(object(), "volume", host="host")
