"""`csi-cinderlib backends restart NAME`: end the process of a back end that hangs, in the controller that runs here."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import options, output, running

RESTART_SECONDS = 45.0
"""The controller waits for the end of the process."""


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument(
        "action", choices=("restart",), help="restart: end its process at once; the controller starts the next one"
    )
    parser.add_argument("name", metavar="NAME", help="the back end's name")


def run(args: argparse.Namespace) -> int:
    """0 once the process has ended. Raises what `running.request` raises."""
    from urllib.parse import quote

    path = f"/backends/{quote(args.name, safe='')}/restart"
    running.request(options.settings(args), "POST", path, patience=RESTART_SECONDS)
    output.print_text(f"back end {args.name}: its process was ended, and the next one is starting")
    return 0
