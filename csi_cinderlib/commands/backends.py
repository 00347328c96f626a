"""`csi-cinderlib backends restart NAME`: end the process of a back end that hangs, in the controller that runs here."""

from __future__ import annotations

from urllib.parse import quote

import click

from csi_cinderlib.commands import options, output, running

RESTART_SECONDS = 45.0
"""The controller waits for the end of the process."""


@click.group()
def command() -> None:
    """Groups `restart`."""


@command.command(
    short_help="End a back end's process.",
    help="End the process of back end NAME at once; the controller starts the next one.",
)
@click.argument("name", shell_complete=options.complete_backend)
@options.configuration
def restart(given: options.Given, name: str) -> int:
    """0 once the process has ended. Raises what `running.request` raises."""
    path = f"/backends/{quote(name, safe='')}/restart"
    pid = running.request(options.settings(given), "POST", path, patience=RESTART_SECONDS)["ended"]
    before = f"process {pid} was ended" if pid else "it had no process"
    output.print_text(f"back end {name}: {before}, and the next one is starting")
    return 0
