"""`csi-cinderlib import`: imports an export into a store that has no other records."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.observe import progress


@click.command(epilog="FILE is a file that export wrote; - is standard input.")
@click.argument("file", type=click.Path())
@options.configuration
def command(given: options.Given, file: str) -> int:
    """Raises InvalidRequest if the file is damaged or not an export. Nothing is stored then."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config import live
    from csi_cinderlib.persistence import transfer
    from csi_cinderlib.sealing import Sealer

    settings = options.settings(given)
    keys = Sealer(live.sealing_keys(settings))
    sealer = keys if keys.active else None
    with _opened(file) as (stream, name), progress.shown("importing") as shown:
        content = transfer.examine(stream, sealer=sealer, name=name, progress=shown)
        with stores.opened(settings) as store:  # creates the tables where there are none
            done = transfer.read(store, stream, sealer=sealer, name=name, progress=shown, content=content)
    output.print_text(str(done), sys.stderr)
    return 0


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, str]]:
    """The input and its name for messages. Raises InvalidRequest."""
    if file == "-":
        with _rewindable(sys.stdin.buffer) as stream:
            yield stream, "standard input"
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InvalidRequest(file, f"cannot be read: {error.strerror}") from None
    with stream, _rewindable(stream) as whole:
        yield whole, file


@contextmanager
def _rewindable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream, or a copy in an unnamed temporary file if it is a pipe, because an import reads its file several times."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file)
        yield file
