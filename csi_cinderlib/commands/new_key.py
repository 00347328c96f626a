"""`csi-cinderlib new-key`: a key that seals secrets, for `sealing_keys` of the configuration."""

from __future__ import annotations

import click

from csi_cinderlib.commands import output
from csi_cinderlib.sealing import generate_key


@click.command()
def command() -> int:
    """Print it."""
    output.print_text(generate_key())
    return 0
