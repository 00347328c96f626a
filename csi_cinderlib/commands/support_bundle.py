"""`csi-cinderlib support-bundle`: writes diagnostics of the driver and its host to one file."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from csi_cinderlib import __version__
from csi_cinderlib.commands import archive, bundle, bundle_cluster, bundle_parts, options, output
from csi_cinderlib.config import load
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.observe import redact

MANIFEST = "MANIFEST.json"
PARTS = bundle_parts.PARTS + bundle_cluster.PARTS


@click.command(help="Collect diagnostics for support in one file, without secrets.")
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    type=click.Path(),
    help="The file; - is standard output. [default: csi-cinderlib-support-HOST-TIME.tar.gz]",
)
@click.option("--list", "only_list", is_flag=True, help="List the parts of the bundle; do not create it.")
@options.configuration
def command(given: options.Given, path: str | None, only_list: bool) -> int:
    """Return 0 once the file is complete, even if parts of it failed. Raises InvalidRequest, HostError."""
    if only_list:
        rows = [{"name": part.name, "content": part.what} for part in PARTS]
        rows.append({"name": MANIFEST, "content": "Status of each part: ok, absent or failed, with the reason"})
        output.print_rows(rows, output.Format(), columns=["name", "content"], nothing="")
        return 0
    return _write(given, path)


def _write(given: options.Given, path: str | None) -> int:
    source = _source(given)
    if source.trouble:
        output.print_text(
            f"cannot read the configuration: {redact.text(source.trouble)}\n"
            f"the bundle covers state directory {source.settings.state_dir} and no back end; --state-dir selects another directory",
            sys.stderr,
        )
    redact.hide_in_process(bundle.secrets(source))
    name = f"csi-cinderlib-support-{socket.gethostname()}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    path = path or f"{name}.tar.gz"
    with archive.created(path) as file:
        file.write(_collected(source, name))
    if path != archive.STANDARD_OUTPUT:
        output.print_text(path)
    return 0


def _collected(source: bundle.Source, name: str) -> bytes:
    """The archive. Prints the status of each part on standard error."""
    bundled, done = archive.Archive(name), []
    for part in PARTS:
        collected, data = bundle.collect(part, source)
        bundled.add(part.name, data)
        done.append(asdict(collected))
        reason = f": {collected.reason}" if collected.reason else ""
        output.print_text(f"{collected.status:<7} {part.name}{reason}", sys.stderr, flush=True)
    head = {
        "version": __version__,
        "created": name.rpartition("-")[2],
        "state_directory": str(source.settings.state_dir),
    }
    bundled.add_json(MANIFEST, {**head, "problem": redact.text(source.trouble), "parts": done})
    return bundled.finish()


def _source(given: options.Given) -> bundle.Source:
    words = tuple(word for value in given.config for word in ("--config", value))
    if given.overrides.state_dir:
        words += ("--state-dir", str(given.overrides.state_dir))
    try:
        return bundle.Source(options.settings(given), "", words)
    except DriverError as error:  # a bundle is also needed to diagnose a wrong configuration
        directory = given.overrides.state_dir or os.environ.get(load.VARIABLES["state_dir"]) or load.DEFAULT_STATE_DIR
        return bundle.Source(Settings(state_dir=Path(directory)), str(error), words)
