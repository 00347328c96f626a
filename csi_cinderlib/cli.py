"""The `csi-cinderlib` command. Only the module of the selected subcommand is imported, so that `serve` starts fast.

Each subcommand's module defines `command`, a click command or group, whose callback returns the exit code.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import click

from csi_cinderlib import __version__
from csi_cinderlib.commands import completion, output
from csi_cinderlib.config.near import unknown
from csi_cinderlib.errors import ConfigurationError, DriverError, InvalidRequest
from csi_cinderlib.observe import standard_output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "csi-cinderlib"

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "serve": "Run the driver.",
        "demo": "Create, use and delete volumes on this machine. Leaves nothing behind.",
        "check": "Check the configuration and set up every back end.",
        "backends": "Restart a back end.",
        "loglevel": "Show or change the log level of the running driver.",
        "drivers": "List the drivers, or describe one.",
        "get": "List back ends, volumes, snapshots, attachments, nodes or orphans.",
        "describe": "Show one object in full.",
        "explain": "Diagnose one volume, from its claim to its mount.",
        "orphans": "List, repair or forget work that interrupted calls left unfinished.",
        "import-volume": "Take an existing volume of a back end over, with its data, or give it up again.",
        "import-snapshot": "Take an existing snapshot of a volume over, or give it up again.",
        "migrate": "Update the metadata store's tables to this version.",
        "export": "Write all metadata to a file.",
        "import": "Import exported metadata into an empty store.",
        "convert": "Convert a configuration of Cinder, cinderlib or Ember-CSI.",
        "adopt": "Take over the metadata of cinderlib, Ember-CSI or OpenStack Cinder.",
        "crds": "Print the CustomResourceDefinitions.",
        "doctor": "Check this host for the tools a node needs.",
        "support-bundle": "Collect diagnostics for support in one file, without secrets.",
        "new-key": "Generate a key for sealing secrets.",
        "rotate-node-key": "Create a new key for this node.",
        "completion": "Print a completion script for bash, zsh or fish.",
    }
)
"""Description of each command. Its module in `csi_cinderlib.commands` has the same name with _ for -; that of import is `import_`."""

_EXAMPLES = """\b
Examples:
  csi-cinderlib demo                                 volumes on this machine, in ten seconds
  csi-cinderlib serve                                one machine: SQLite, and volumes in sparse files
  csi-cinderlib serve --config /etc/cinderlib.yaml --mode controller
  csi-cinderlib check --config /etc/cinderlib.yaml   check the configuration and every back end
"""


class _Commands(click.Group):
    """Imports only the selected command."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        return command_of(name) if name in COMMANDS else None

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands without importing them."""
        from click.shell_completion import CompletionItem

        names = [name for name in COMMANDS if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return commands or super().shell_complete(context, incomplete)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    PROGRAM,
    cls=_Commands,
    help="CSI driver for every storage back end that OpenStack Cinder supports, without OpenStack.",
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """The top-level group."""


def command_of(name: str) -> click.Command:
    """Import the command's module and return its command."""
    gc.disable()  # imports allocate many objects and free few
    module = importlib.import_module(
        f"csi_cinderlib.commands.{'import_' if name == 'import' else name.replace('-', '_')}"
    )
    gc.enable()
    command = cast("click.Command", module.command)
    command.name, command.help = name, COMMANDS[name]
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 success, 1 failure, 2 bad input (reported on standard error), 130 Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    if argv is None and words[:1] == ["serve"]:
        from csi_cinderlib.app import signals

        signals.hold_back()  # before the imports of `serve`, which take most of its start
    standard_output.reopen()
    if asked := os.environ.get(completion.VARIABLE):
        return completion.answer(program, asked)
    name = " ".join((PROGRAM, *[word for word in words if not word.startswith("-")][:1]))
    try:
        return _run(words)
    except click.UsageError as error:
        return _fail(_describe_misuse(error, name), 2)
    except DriverError as error:
        return _fail(f"{name}: {error}", 2 if isinstance(error, ConfigurationError | InvalidRequest) else 1)
    except OSError as error:
        return _end_output(name, error)
    except KeyboardInterrupt:
        standard_output.discard()
        return 130


def _run(words: Sequence[str]) -> int:
    try:
        with program.make_context(PROGRAM, list(words)) as context:
            code: int = program.invoke(context)
    except click.exceptions.Exit as done:  # --help and --version
        code = done.exit_code
    output.flush()
    return code


def _describe_misuse(error: click.UsageError, name: str) -> str:
    message = error.format_message()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return message
    if isinstance(error, click.exceptions.NoSuchCommand) and error.ctx and error.ctx.command is program:
        message = unknown("command", error.command_name, COMMANDS)
    path = error.ctx.command_path if error.ctx else name
    return f"{path}: {message[:1].lower()}{message[1:]}\nTry '{path} --help'."


def _fail(message: str, code: int) -> int:
    with suppress(OSError):
        output.print_text(message, sys.stderr, flush=True)
    return code


def _end_output(name: str, error: OSError) -> int:
    """Handle an error that no command handles. Return 0 if the reader of the output has gone."""
    if error.filename in (None, standard_output.NAME):
        standard_output.discard()
    if isinstance(error, BrokenPipeError):
        return 0
    return _fail(f"{name}: {error.filename or 'cannot write'}: {error.strerror}", 1)
