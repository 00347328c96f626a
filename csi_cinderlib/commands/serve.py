"""`csi-cinderlib serve`: the driver, until it is stopped."""

from __future__ import annotations

import argparse
import os
import sys

from csi_cinderlib.commands import options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.service(parser)
    options.configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Does not return unless the settings are wrong."""
    settings = options.settings(args)
    from csi_cinderlib.app.serve import serve

    code = serve(settings)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # everything is closed; taking Cinder's modules apart would only cost a second
