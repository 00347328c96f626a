"""`csi-cinderlib export`: all metadata as JSON, one record a line, for a backup or for another kind of store."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TextIO

from csi_cinderlib.commands import options
from csi_cinderlib.config.settings import Settings

FORMAT = "csi-cinderlib-export"
VERSION = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a file that does not exist yet (mode 0600: without sealing keys it holds credentials), or -",
    )


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError, StoreUnavailable, CorruptRecord: a backup that lacks a record is none."""
    from csi_cinderlib.errors import InvalidRequest

    settings = options.settings(args)
    if args.file == "-":
        _write(settings, sys.stdout)
        return 0
    try:
        fd = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidRequest(args.file, f"cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            _write(settings, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        Path(args.file).unlink()
        raise
    return 0


def _write(settings: Settings, stream: TextIO) -> None:
    from csi_cinderlib.app import stores
    from csi_cinderlib.errors import CorruptRecord
    from csi_cinderlib.persistence import codec
    from csi_cinderlib.sealing import Sealer

    sealer = Sealer(settings.sealing_keys)
    count = 0
    with stores.opened(settings) as store:
        print(json.dumps({"format": FORMAT, "version": VERSION}), file=stream)
        for kind, record in stores.everything(store):
            if isinstance(record, str):
                raise CorruptRecord(kind, record, "see `csi-cinderlib orphans`")
            print(codec.to_text(record, sealer if sealer.active else None), file=stream)
            count += 1
    print(f"{count} records", file=sys.stderr)
