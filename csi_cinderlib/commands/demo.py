"""`csi-cinderlib demo`: creates, uses and deletes volumes on this machine."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print each step as one line of JSON.")
def command(as_json: bool) -> int:
    """Needs root."""
    from csi_cinderlib.demo.run import run as demo

    return demo(as_json=as_json)
