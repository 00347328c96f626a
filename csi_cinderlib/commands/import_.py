"""`csi-cinderlib import`: what `export` wrote, into an empty store."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from csi_cinderlib.commands import options
from csi_cinderlib.commands.export import FORMAT, VERSION
from csi_cinderlib.errors import InvalidRequest


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("file", metavar="FILE", help="what export wrote, or -")


def run(args: argparse.Namespace) -> int:
    """Raises InvalidRequest for a line that export did not write; what stood before it is stored by then."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.persistence import codec
    from csi_cinderlib.sealing import Sealer

    settings = options.settings(args)
    sealer = Sealer(settings.sealing_keys)
    count = 0
    with stores.opened(settings) as store:
        for kind, _ in stores.everything(store):
            raise InvalidRequest("store", f"has {kind} records already: import needs an empty one")
        for where, body in _bodies(args.file):
            found: Any = codec.BY_NAME.get(str(body.get("kind")))
            if found is None:
                raise InvalidRequest(where, f"unknown kind {body.get('kind')!r}")
            store.add(codec.decode(found, body, id=str(body.get("id", "")), sealer=sealer if sealer.active else None))
            count += 1
    print(f"{count} records", file=sys.stderr)
    return 0


def _bodies(file: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Each line's object, and where it stands."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(file, f"cannot be read: {error.strerror}") from None
    lines = text.splitlines()
    if not lines or _parse(f"{file}:1", lines[0]) != {"format": FORMAT, "version": VERSION}:
        raise InvalidRequest(file, "was not written by this version's export")
    for number, line in enumerate(lines[1:], 2):
        yield f"{file}:{number}", _parse(f"{file}:{number}", line)


def _parse(where: str, line: str) -> dict[str, object]:
    try:
        body = json.loads(line)
    except ValueError:
        raise InvalidRequest(where, "is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest(where, "is not a JSON object")
    return body
