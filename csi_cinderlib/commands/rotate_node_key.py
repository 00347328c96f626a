"""`csi-cinderlib rotate-node-key`: a new key for this node, taken up by the process that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.observe import progress

if TYPE_CHECKING:
    from csi_cinderlib.node.own_keys import OwnKeys


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
        raise ConfigurationError("node_name", "is required; give --node-name or CINDERLIB_NODE_NAME")
    keys = OwnKeys(settings.state_dir, settings.node_name)
    if not keys.read():
        raise ConfigurationError(
            "state_dir",
            f"{settings.state_dir} holds no key of node {keys.node!r}; the node makes one when it registers",
        )
    with progress.shown("changing the keys"):  # another process may be changing them
        message = _forget_old(keys) if forget_old else _add(keys)
    output.print_text(message)
    return 0


def _forget_old(keys: OwnKeys) -> str:
    return f"node {keys.node}: old keys removed: {keys.forget_old()}"


def _add(keys: OwnKeys) -> str:
    return f"node {keys.node}: new key {keys.add().id}"
