"""`csi-cinderlib serve`: the driver, until it is stopped."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.service(parser)
    options.configuration(parser)


def run(args: argparse.Namespace) -> int:
    settings = options.settings(args)
    from csi_cinderlib.app.serve import serve

    return serve(settings)
