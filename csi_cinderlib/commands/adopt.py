"""`csi-cinderlib adopt`: takes over the metadata of cinderlib, Ember-CSI or OpenStack Cinder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import adopt_cinder, adopt_target, options, output
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.observe import progress

if TYPE_CHECKING:
    from csi_cinderlib.adoption.found import Found


@click.group(
    epilog="cinderlib and ember only print what they would do, unless --write is given; cinder lists, unless it gets a plan. The source is "
    "never changed. Stop the programs that use it first."
)
def command() -> None:
    """Group of the commands below."""


command.add_command(adopt_cinder.command)


def _target(callback: options.Callback) -> options.Callback:
    """Add the options that select and fill the store."""
    for option in (
        click.option("--write/--dry-run", default=False, help="Write the records. [default: --dry-run]"),
        click.option("--skip-problems", is_flag=True, help="Leave out rows with problems. [default: write nothing]"),
    ):
        callback = option(callback)
    return options.configuration(adopt_target.into(callback))


@command.command(
    "cinderlib",
    short_help="Adopt cinderlib's database.",
    help="Read the database of cinderlib 2 to 5 and add its volumes, snapshots, connections and key-values to the store.",
    epilog="URLs may contain passwords; the variables do not show them in the list of processes.",
)
@click.option("--url", metavar="URL", required=True, envvar=adopt_target.URL_VARIABLE, help=f"cinderlib's `connection`: sqlite:////PATH, postgresql://... or mysql://...; - reads it from standard input. [env: {adopt_target.URL_VARIABLE}]")  # fmt: skip
@_target
def cinderlib(given: options.Given, url: str, write: bool, skip_problems: bool, into: str) -> int:
    """Raises ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.adoption import database, tables

    with progress.shown("reading the database"):
        rows, shown = tables.read(adopt_target.given_url(url))
    with adopt_target.naming_into(into):
        return _adopt(given, database.content(rows), shown, write=write, skip_problems=skip_problems, into=into)


@command.command(
    "ember",
    short_help="Adopt Ember-CSI's custom resources.",
    help="Read Ember-CSI's custom resources and add their volumes, snapshots, connections and key-values to the store.",
    epilog="FILE is the output of `kubectl get volumes.ember-csi.io,snapshots.ember-csi.io,connections.ember-csi.io,keyvalues.ember-csi.io "
    "-o yaml`; - is standard input. Without a FILE, the objects are read from the cluster.",
)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@click.option(
    "--kubeconfig", metavar="FILE", type=click.Path(path_type=Path), help="Access to the cluster. [default: this pod's]"
)
@click.option(
    "--namespace", metavar="NAME", default="", help="Namespace of the objects. [default: that of the kubeconfig or pod]"
)
@_target
def ember(
    given: options.Given,
    files: tuple[str, ...],
    kubeconfig: Path | None,
    namespace: str,
    write: bool,
    skip_problems: bool,
    into: str,
) -> int:
    """Raises InvalidRequest, ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.adoption import ember as reader
    from csi_cinderlib.adoption import resources

    if files and (kubeconfig or namespace):
        raise InvalidRequest("FILE", "cannot be combined with --kubeconfig or --namespace")
    with progress.shown("reading the objects"):
        items = (
            reader.from_files([(name, _text(name)) for name in files])
            if files
            else reader.from_cluster(kubeconfig, namespace)
        )
    shown = "Ember-CSI's custom resources"
    with adopt_target.naming_into(into):
        return _adopt(given, resources.content(items), shown, write=write, skip_problems=skip_problems, into=into)


def _text(name: str) -> str:
    try:
        return sys.stdin.buffer.read().decode() if name == "-" else Path(name).read_bytes().decode()
    except OSError as error:
        raise InvalidRequest(name, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(name, "is not UTF-8") from None


def _adopt(given: options.Given, found: Found, source: str, *, write: bool, skip_problems: bool, into: str) -> int:
    """Report, and write if asked. Returns 1 if problems prevent the adoption."""
    from csi_cinderlib.adoption import report, writing

    settings = adopt_target.settings(given, into)
    known = {} if into else adopt_target.backends(settings)
    with progress.shown("comparing with the store"), adopt_target.looked_at(settings) as store:
        planned = writing.plan(store, found.records(), {name: reason for name, reason in known.items() if reason})
    for line in report.lines(found, planned, source, None if into else known):
        output.print_text(line)
    problems = (*found.problems, *planned.problems)
    for problem in problems:
        output.print_text(f"problem: {problem}", sys.stderr)
    if planned.problems or (found.problems and not skip_problems):
        output.print_text(
            "nothing written; remove the causes"
            + ("" if planned.problems else ", or leave these rows out with --skip-problems"),
            sys.stderr,
        )
        return 1
    if write and not planned.done:
        adopt_target.write(settings, planned, source, into, known)
    elif not planned.done:
        output.print_text("dry run: nothing written; add --write to write", sys.stderr)
    return 0
