"""`csi-cinderlib new-key`: a key that seals secrets, for `sealing_keys` of the configuration."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import output
from csi_cinderlib.sealing import generate_key


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(_args: argparse.Namespace) -> int:
    """Print it."""
    output.print_text(generate_key())
    return 0
