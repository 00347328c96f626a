"""Loads Cinder on our runtime, and then gives Cinder's test base, which is a whole service, the modules that it needs.

Drivers and all that they share keep what they have in the product. Cinder's own database module is the exception: the tests
write their records into it.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

_DRIVERS = ("cinder.volume.drivers.", "cinder.zonemanager.")
"""What the product imports after Cinder's core, which has its stand-ins already."""


def load_cinder() -> None:
    from csi_cinderlib.cinder import runtime

    runtime.load_cinder()
    _serve_http_nowhere()
    hand_out_stand_ins(_remove_replaced())
    _load_lazy_modules()
    _restore_database()


def _remove_replaced() -> Mapping[str, types.ModuleType]:
    """Take the stand-ins of services out of the way, so that the next import gets the real module."""
    from csi_cinderlib.cinder import standins

    removed = {}
    for row in standins.TABLE:
        if row.kind is standins.Kind.REPLACED:
            removed[row.target] = sys.modules.pop(row.target)
            parent, _, leaf = row.target.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(leaf, None)
    return removed


class _Overlay(types.ModuleType):
    """A package some of whose modules are stand-ins."""

    def __init__(self, package: types.ModuleType, stand_ins: Mapping[str, types.ModuleType]) -> None:
        super().__init__(package.__name__)
        self._package = package
        vars(self).update(stand_ins)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)


def hand_out_stand_ins(stand_ins: Mapping[str, types.ModuleType]) -> None:
    """Drivers are imported by the tests, later; they get the stand-ins all the same."""
    original = builtins.__import__

    def import_module(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        module = original(name, globals, locals, fromlist or (), level)
        importer = str(globals.get("__name__")) if globals else ""
        if not fromlist or not importer.startswith(_DRIVERS) or not isinstance(module, types.ModuleType):
            return module  # some tests put mocks in the place of libraries
        if module.__name__ in stand_ins:
            return stand_ins[module.__name__]
        given = {leaf: stand_ins[full] for leaf in fromlist if (full := f"{module.__name__}.{leaf}") in stand_ins}
        return _Overlay(module, given) if given else module

    builtins.__import__ = import_module


def _load_lazy_modules() -> None:
    """Tests set options of these modules, or look at what they import, before anything uses them."""
    for name, attribute in (
        ("cinder.compute", "API"),
        ("cinder.image.glance", "get_default_image_service"),
        ("os_brick.initiator.connector", "get_connector_properties"),
    ):
        getattr(importlib.import_module(name), attribute)


def _serve_http_nowhere() -> None:
    """cinder.service imports eventlet's HTTP server; drivers do not, so the runtime's eventlet lacks it."""
    wsgi = types.ModuleType("eventlet.wsgi")
    vars(wsgi).update(HttpProtocol=object, server=None)
    sys.modules["eventlet.wsgi"] = wsgi
    vars(sys.modules["eventlet"])["wsgi"] = wsgi


def _restore_database() -> None:
    """Put Cinder's database module where ours is, and what depends on it into the state that Cinder gives it."""
    ours = sys.modules.pop("cinder.db.api")
    real = importlib.import_module("cinder.db.api")
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is ours:
                setattr(module, name, real)
    _prepare_context()
    _name_models()


def _prepare_context() -> None:
    """The runtime loads cinder.context without SQLAlchemy's ORM, for which it needs only this decorator."""
    from cinder import context
    from oslo_db.sqlalchemy import enginefacade

    enginefacade.transaction_context_provider(context.RequestContext)


def _name_models() -> None:
    """Objects look up their database models when they are registered."""
    from cinder.objects import base

    for versions in base.CinderObjectRegistry.obj_classes().values():
        for registered in versions:
            if issubclass(registered, base.CinderPersistentObject):
                registered.cinder_ovo_cls_init()
