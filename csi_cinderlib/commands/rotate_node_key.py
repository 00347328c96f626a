"""`csi-cinderlib rotate-node-key`: a new key for this node, taken up by the process that serves it."""

from __future__ import annotations

import click

from csi_cinderlib.commands import options, output


@click.command()
@click.option(
    "--forget-old",
    is_flag=True,
    help="Remove all keys but the newest instead: connections that are encrypted to them cannot be staged again.",
)
@options.configuration
@options.node_name
def command(given: options.Given, forget_old: bool) -> int:
    """Raises HostError: this host's keys cannot be read or written."""
    from csi_cinderlib.errors import ConfigurationError
    from csi_cinderlib.node.own_keys import OwnKeys

    settings = options.settings(given)
    if not settings.node_name:
        raise ConfigurationError("node_name", "must be given: a key belongs to a node")
    keys = OwnKeys(settings.state_dir, settings.node_name)
    if not keys.read():
        raise ConfigurationError(
            "state_dir", f"{settings.state_dir} holds no key of node {keys.node!r}: one is made when it registers"
        )
    if forget_old:
        output.print_text(f"{keys.forget_old()} old keys of node {keys.node} removed")
    else:
        output.print_text(f"node {keys.node} has the key {keys.add().id} from now on")
    return 0
