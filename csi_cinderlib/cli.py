"""The command `csi-cinderlib`. Each subcommand is a module that is imported only when it is called: `serve` must answer at once.

A command's module has `arguments(parser)`, which adds its options, and `run(args) -> int`, which returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

from csi_cinderlib import __version__
from csi_cinderlib.commands import output
from csi_cinderlib.errors import ConfigurationError, DriverError, InvalidRequest

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "run the driver until it is stopped",
        "demo": "watch volumes live their whole life on this machine; leaves nothing behind",
        "check": "read the configuration, look at the metadata store and set up every back end, then say what each can do",
        "backends": "restart a back end whose driver hangs, without the others",
        "drivers": "list every driver there is, or one with its options and a back end to begin with",
        "volumes": "list the volumes that the metadata store knows",
        "orphans": "list what an interrupted call left half done",
        "migrate": "bring the metadata store's tables to this version",
        "export": "write all metadata to a file",
        "import": "read metadata that export wrote into an empty store",
        "crds": "print the definitions of the custom resources, for kubectl apply",
        "doctor": "look at what this host has of the tools that a node needs",
        "new-key": "make a key that seals secrets",
        "rotate-node-key": "give this node a new key of its own",
    }
)
"""Every command and what it does. `csi_cinderlib.commands` has a module for each, of the same name with _ for -, and `import_` for import."""

_EXAMPLES = """
examples:
  csi-cinderlib demo                                 the whole trade, on this machine, in ten seconds
  csi-cinderlib serve                                one machine: SQLite, and volumes in sparse files
  csi-cinderlib serve --config /etc/cinderlib.yaml --mode controller
  csi-cinderlib check --config /etc/cinderlib.yaml   is it right, and do the back ends answer?
"""


class Command(Protocol):
    """What a command's module offers."""

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 bad input (named on standard error), 130 stopped by Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    chosen = next((word for word in words if not word.startswith("-")), "")
    args = _parser(chosen).parse_args(words)
    try:
        return _command(args.command).run(args)
    except (ConfigurationError, InvalidRequest) as error:
        output.print_text(f"csi-cinderlib {args.command}: {error}", sys.stderr)
        return 2
    except DriverError as error:
        output.print_text(f"csi-cinderlib {args.command}: {error}", sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The options of the chosen command alone, for the modules of the others are not imported."""
    parser = argparse.ArgumentParser(
        prog="csi-cinderlib",
        description="One CSI driver for every storage back end that OpenStack Cinder can drive, with no OpenStack running.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"csi-cinderlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            _command(name).arguments(command)
    return parser


def module_of(name: str) -> str:
    """Where a command lives."""
    return f"csi_cinderlib.commands.{'import_' if name == 'import' else name.replace('-', '_')}"


def _command(name: str) -> Command:
    return cast("Command", importlib.import_module(module_of(name)))
