"""Drivers that the tests import get the stand-ins of the product; everything else gets the real modules."""

from __future__ import annotations

import builtins
import json
import sys
import types
from unittest import mock

import pytest

from tests.upstream import product

DRIVER = "cinder.volume.drivers.lvm"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in of json.decoder."""
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)
    module = types.ModuleType("json.decoder")
    product.hand_out_stand_ins({"json.decoder": module})
    return module


def imported_by(importer: str, name: str, *names: str) -> types.ModuleType:
    return builtins.__import__(name, {"__name__": importer}, None, names)


def test_a_driver_gets_the_stand_in_of_a_module_and_the_rest_of_its_package(stand_in: types.ModuleType) -> None:
    package = imported_by(DRIVER, "json", "decoder", "loads")
    assert package.decoder is stand_in
    assert package.loads is json.loads


def test_a_driver_gets_the_stand_in_when_it_imports_a_name_of_it(stand_in: types.ModuleType) -> None:
    assert imported_by(DRIVER, "json.decoder", "JSONDecoder") is stand_in


def test_a_test_gets_the_real_module(stand_in: types.ModuleType) -> None:
    assert imported_by("cinder.tests.unit.volume.drivers.test_lvm", "json", "decoder") is json
    assert json.decoder is not stand_in


def test_a_mock_in_the_place_of_a_library_stays(stand_in: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    library = mock.Mock(spec=["exceptions"])
    monkeypatch.setitem(sys.modules, "storage_client", library)
    assert imported_by(DRIVER, "storage_client", "exceptions") is library
