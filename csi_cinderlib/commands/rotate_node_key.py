"""`csi-cinderlib rotate-node-key`: creates a new key for this node, which the running process then uses."""

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
    help="Remove all keys except the newest. Connections encrypted for the removed keys can no longer be staged.",
)
@options.configuration
@options.node_name
def command(given: options.Given, forget_old: bool) -> int:
    """Raises HostError: this host's keys cannot be read or written."""
    from csi_cinderlib.errors import ConfigurationError
    from csi_cinderlib.node.own_keys import OwnKeys

    settings = options.settings(given)
    if not settings.node_name:
        raise ConfigurationError("node_name", "must be set; use --node-name or CINDERLIB_NODE_NAME")
    keys = OwnKeys(settings.state_dir, settings.node_name)
    if not keys.read():
        raise ConfigurationError(
            "state_dir",
            f"{settings.state_dir} has no key for node {keys.node!r}; the node creates one when it registers",
        )
    with progress.shown("changing the keys"):  # another process may be changing them
        message = _forget_old(keys) if forget_old else _add(keys)
    output.print_text(message)
    return 0


def _forget_old(keys: OwnKeys) -> str:
    return f"node {keys.node}: old keys removed: {keys.forget_old()}"


def _add(keys: OwnKeys) -> str:
    return f"node {keys.node}: new key {keys.add().id}"
