"""The options that several commands share, and the settings that follow from them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from csi_cinderlib.config import load
from csi_cinderlib.config.settings import Settings

CONFIG_VARIABLE = "CINDERLIB_CONFIG"


def configuration(parser: argparse.ArgumentParser) -> None:
    """--config, --state-dir and the logs' options."""
    parser.add_argument("--config", metavar="FILE", help=f"settings in YAML (or {CONFIG_VARIABLE})")
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help=f"everything durable lies under it (or CINDERLIB_STATE_DIR; {load.DEFAULT_STATE_DIR})",
    )
    parser.add_argument(
        "--log-format", metavar="FORMAT", help="json, text, or auto: text on a terminal, JSON elsewhere"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")


def service(parser: argparse.ArgumentParser) -> None:
    """What only a serving process has."""
    parser.add_argument("--mode", metavar="MODE", help="controller, node, or all (or CINDERLIB_MODE; all)")
    parser.add_argument(
        "--endpoint", metavar="SOCKET", help="unix:///PATH or a path (or CSI_ENDPOINT; STATE_DIR/csi.sock)"
    )
    parser.add_argument("--node-name", metavar="NAME", help="this node's name (or CINDERLIB_NODE_NAME; the host's)")


def settings(args: argparse.Namespace) -> Settings:
    """Raises ConfigurationError."""
    config = args.config or os.environ.get(CONFIG_VARIABLE)
    given = {name: getattr(args, name, None) for name in load.VARIABLES}
    return load.load(Path(config) if config else None, overrides=load.Overrides(**given))
