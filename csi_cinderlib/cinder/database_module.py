"""`cinder.db.api` itself: a module whose functions are a `Database`'s methods."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import NoReturn

from csi_cinderlib.cinder.database import Database


def module(database: Database) -> types.ModuleType:
    """`cinder.db.api`, with the options that Cinder's own registers."""
    from oslo_config import cfg

    module = _Module(database)
    for name in dir(Database):
        if not name.startswith("_"):
            setattr(module, name, getattr(database, name))
    options = [
        cfg.BoolOpt("enable_new_services", default=True, help="Services to be added to the available pool on create"),
        cfg.StrOpt(
            "volume_name_template", default="volume-%s", help="Template string to be used to generate volume names"
        ),
        cfg.StrOpt(
            "snapshot_name_template",
            default="snapshot-%s",
            help="Template string to be used to generate snapshot names",
        ),
    ]
    backup = [
        cfg.StrOpt(
            "backup_name_template", default="backup-%s", help="Template string to be used to generate backup names"
        )
    ]
    cfg.CONF.register_opts(options)
    cfg.CONF.register_opts(backup)
    vars(module).update(CONF=cfg.CONF, db_opts=options, backup_opts=backup)
    return module


class _Module(types.ModuleType):
    """Unknown calls are refused when they are made, not when they are looked up: some drivers only look."""

    def __init__(self, database: Database) -> None:
        super().__init__("cinder.db.api", __doc__)
        self._database = database

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: self._database.refuse(name)
