"""`csi-cinderlib migrate`: bring the metadata store's tables to this version, where they are not brought there at start."""

from __future__ import annotations

import argparse
from dataclasses import replace

from csi_cinderlib.commands import options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)


def run(args: argparse.Namespace) -> int:
    from csi_cinderlib.app import stores

    settings = options.settings(args)
    if settings.store.plugin != "sql":
        print(f"the store {settings.store.plugin} has no tables: nothing to do")
        return 0
    store = replace(settings.store, options={**settings.store.options, "migrate": True})
    with stores.opened(replace(settings, store=store)):
        print("the tables are those of this version")
    return 0
