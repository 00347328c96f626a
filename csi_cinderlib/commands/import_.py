"""`csi-cinderlib import`: what `export` wrote, into a store that holds nothing else."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from csi_cinderlib.commands import options, output


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("file", metavar="FILE", help="what export wrote, or -")


def run(args: argparse.Namespace) -> int:
    """Raises InvalidRequest for a file that export did not write, or that is damaged: nothing is stored then."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config import live
    from csi_cinderlib.persistence import transfer
    from csi_cinderlib.sealing import Sealer

    settings = options.settings(args)
    given = Sealer(live.sealing_keys(settings))
    sealer = given if given.active else None
    with stores.opened(settings) as store:
        if args.file == "-":
            with _rewindable(sys.stdin.buffer) as stream:
                done = transfer.read(store, stream, sealer=sealer, name="standard input")
        else:
            done = transfer.import_(store, Path(args.file), sealer=sealer)
    output.print_text(str(done), sys.stderr)
    return 0


@contextmanager
def _rewindable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """An import reads its file three times; what comes through a pipe is kept in a nameless file meanwhile."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file)
        yield file
