"""`csi-cinderlib backends restart NAME`: end the process of a back end that hangs, in the controller that runs here."""

from __future__ import annotations

import click

from csi_cinderlib.commands import options, output


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
    """0 once the process has ended. Raises NotFound or HostError."""
    from csi_cinderlib.app import restarts

    restarts.request(options.settings(given).state_dir, name)
    output.print_text(f"back end {name}: its process was ended, and the next one is starting")
    return 0
