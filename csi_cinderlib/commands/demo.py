"""`csi-cinderlib demo`: volumes live their whole life on this machine."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line for each step")


def run(args: argparse.Namespace) -> int:
    from csi_cinderlib.demo.run import run as demo

    return demo(as_json=args.json)
