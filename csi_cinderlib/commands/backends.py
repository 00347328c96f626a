"""`csi-cinderlib backends restart NAME`: end the process of a hung back end in the local controller."""

from __future__ import annotations

from urllib.parse import quote

import click

from csi_cinderlib.commands import options, output, running

RESTART_SECONDS = 45.0
"""Request timeout. The controller waits until the process has ended."""


@click.group()
def command() -> None:
    """Groups `restart`."""


@command.command(
    short_help="End a back end's process.",
    help="End the process of back end NAME at once. The controller starts a new one.",
)
@click.argument("name", shell_complete=options.complete_backend)
@options.configuration
def restart(given: options.Given, name: str) -> int:
    """Return 0 once the process has ended. Raises what `running.request` raises."""
    path = f"/backends/{quote(name, safe='')}/restart"
    pid = running.request(options.settings(given), "POST", path, patience=RESTART_SECONDS)["ended"]
    before = f"process {pid} ended" if pid else "no process was running"
    output.print_text(f"back end {name}: {before}; a new one is starting")
    return 0
