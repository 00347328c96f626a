"""`csi-cinderlib crds`: print the CustomResourceDefinitions, generated from the model."""

from __future__ import annotations

import click
import yaml

from csi_cinderlib.commands import output
from csi_cinderlib.persistence.kubernetes.resources import definitions

HEADER = "# Made by `csi-cinderlib crds` from the model; do not edit.\n"


@click.command()
def command() -> int:
    """Print all definitions."""
    output.print_text(text().removesuffix("\n"))
    return 0


def text() -> str:
    """All definitions as one YAML stream."""
    return HEADER + yaml.safe_dump_all(definitions(), sort_keys=False, width=120)
