"""`csi-cinderlib serve`: runs the driver until it is stopped."""

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
    """Runs the driver and exits with its code. Returns only if the settings are wrong."""
    dumps.forbid()  # before the first password is read
    gc.disable()  # imports allocate many objects and free few; the serving code enables it again
    try:
        code = _serve(options.settings(given), lambda: options.settings(given))
    finally:
        gc.enable()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # everything is closed; unloading Cinder's modules would take a second


def _serve(settings: Settings, reread: Callable[[], Settings]) -> int:
    # A forked child only executes a program and does not use gRPC, whose fork handlers abort one child in sixty (grpcio 1.85).
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # gRPC imports asyncio, which imports ssl if available: 4 MB on every node for a server on a unix socket.
    # Later imports of ssl work.
    with without("ssl") if settings.mode is Mode.NODE else nullcontext():
        import grpc  # noqa: F401  # imported here without ssl
    from csi_cinderlib.app.serve import serve

    return serve(settings, reread)
