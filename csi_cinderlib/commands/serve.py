"""`csi-cinderlib serve`: the driver, until it is stopped."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext

import click

from csi_cinderlib.commands import options
from csi_cinderlib.concurrency import without
from csi_cinderlib.config.settings import Mode, Settings
from csi_cinderlib.host import dumps


@click.command()
@options.configuration
@options.service
def command(given: options.Given) -> int:
    """Does not return unless the settings are wrong."""
    dumps.forbid()  # before the first password is read
    gc.disable()  # imports make much and free little; whatever serves turns it on again
    try:
        code = _serve(options.settings(given), lambda: options.settings(given))
    finally:
        gc.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # everything is closed; taking Cinder's modules apart would only cost a second


def _serve(settings: Settings, reread: Callable[[], Settings]) -> int:
    # A forked child runs one program and nothing of gRPC, whose fork handlers abort one child in sixty (grpcio 1.85).
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # asyncio comes with gRPC, and takes OpenSSL along if it can: 4 MB on every node, for a server on a unix socket.
    # Whoever asks for ssl later gets it.
    with without("ssl") if settings.mode is Mode.NODE else nullcontext():
        import grpc  # noqa: F401  # here, where ssl is out of reach
    from csi_cinderlib.app.serve import serve

    return serve(settings, reread)
