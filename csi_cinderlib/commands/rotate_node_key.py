"""`csi-cinderlib rotate-node-key`: a new key for this node, taken up by the process that serves it."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import options, output


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("--node-name", metavar="NAME", help="this node's name (or CINDERLIB_NODE_NAME)")
    parser.add_argument(
        "--forget-old",
        action="store_true",
        help="remove all keys but the newest instead: connections that are encrypted to them cannot be staged again",
    )


def run(args: argparse.Namespace) -> int:
    """Raises HostError: this host's keys cannot be read or written."""
    from csi_cinderlib.errors import ConfigurationError
    from csi_cinderlib.node.own_keys import OwnKeys

    settings = options.settings(args)
    if not settings.node_name:
        raise ConfigurationError("node_name", "must be given: a key belongs to a node")
    keys = OwnKeys(settings.state_dir, settings.node_name)
    if not keys.read():
        raise ConfigurationError(
            "state_dir", f"{settings.state_dir} holds no key of node {keys.node!r}: one is made when it registers"
        )
    if args.forget_old:
        output.print_text(f"{keys.forget_old()} old keys of node {keys.node} removed")
    else:
        output.print_text(f"node {keys.node} has the key {keys.add().id} from now on")
    return 0
