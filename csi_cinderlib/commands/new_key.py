"""`csi-cinderlib new-key`: generates a key for `sealing_keys` in the configuration."""

from __future__ import annotations

import click

from csi_cinderlib.commands import output
from csi_cinderlib.sealing import generate_key


@click.command()
def command() -> int:
    """Print a new key."""
    output.print_text(generate_key())
    return 0
