"""`csi-cinderlib loglevel [LEVEL]`: shows or changes the log level of the local process and its drivers' processes."""

from __future__ import annotations

import re

import click

from csi_cinderlib.app.log_level import LONGEST_SECONDS
from csi_cinderlib.commands import options, output, running
from csi_cinderlib.errors import InvalidRequest

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command(help="Show or change the log level of the running driver.")
@click.argument("level", required=False, metavar="[debug|info|warning|error|configured]")
@click.option("--for", "duration", metavar="TIME", help="Restore the configured level after this time: 90s, 10m or 2h.")
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format, level: str | None, duration: str | None) -> int:
    """Return 0 once the level is set. Raises InvalidRequest, or what `running.request` raises."""
    if duration is not None and level is None:
        raise InvalidRequest("--for", "requires a level")
    settings = options.settings(given)
    if level is None:
        now = running.request(settings, "GET", "/loglevel")
    else:
        body = {"level": level, "for_seconds": _seconds(duration)}
        now = running.request(settings, "PUT", "/loglevel", body)
    output.print_rows([now], format, columns=["level", "configured", "until"], nothing="")
    return 0


def _seconds(duration: str | None) -> float:
    """Raises InvalidRequest."""
    if duration is None:
        return 0.0
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", duration.strip())
    if found is None:
        raise InvalidRequest("--for", f"must be a time such as 90s, 10m or 2h (got {duration!r})")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= LONGEST_SECONDS:
        raise InvalidRequest("--for", f"must be between 1s and {LONGEST_SECONDS / _SECONDS['d']:.0f}d (got {duration})")
    return float(seconds)
