"""`csi-cinderlib adopt`: takes over the metadata of cinderlib or Ember-CSI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from csi_cinderlib.observe import progress

if TYPE_CHECKING:
    from csi_cinderlib.adoption.found import Found
    from csi_cinderlib.adoption.writing import Plan
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.api import Store

URL_VARIABLE, INTO_VARIABLE = "CINDERLIB_ADOPT_URL", "CINDERLIB_ADOPT_INTO"
"""URLs may contain passwords, which the variables do not show in the list of processes."""


@click.group(
    epilog="Both commands only print what they would do, unless --write is given. The source is never changed. Stop the programs that "
    "use it first."
)
def command() -> None:
    """Group of the commands below."""


def _target(callback: options.Callback) -> options.Callback:
    """Add the options that select and fill the store."""
    for option in (
        click.option("--write/--dry-run", default=False, help="Write the records. [default: --dry-run]"),
        click.option("--skip-problems", is_flag=True, help="Leave out rows with problems. [default: write nothing]"),
        click.option(
            "--into",
            metavar="URL",
            default="",
            envvar=INTO_VARIABLE,
            help=f"Database of a program with the library. [env: {INTO_VARIABLE}; default: the configured store]",
        ),
    ):
        callback = option(callback)
    return options.configuration(callback)


@command.command(
    "cinderlib",
    short_help="Adopt cinderlib's database.",
    help="Read the database of cinderlib 2 to 5 and add its volumes, snapshots, connections and key-values to the store.",
    epilog="URLs may contain passwords; the variables do not show them in the list of processes.",
)
@click.option("--url", metavar="URL", required=True, envvar=URL_VARIABLE, help=f"cinderlib's `connection`: sqlite:////PATH, postgresql://... or mysql://... [env: {URL_VARIABLE}]")  # fmt: skip
@_target
def cinderlib(given: options.Given, url: str, write: bool, skip_problems: bool, into: str) -> int:
    """Raises ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.adoption import database, tables

    with progress.shown("reading the database"):
        rows, shown = tables.read(url)
    with _naming_into(into):
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
    with _naming_into(into):
        return _adopt(given, resources.content(items), shown, write=write, skip_problems=skip_problems, into=into)


@contextmanager
def _naming_into(into: str) -> Iterator[None]:
    """Name `--into` in errors about its URL, which is a setting of the store otherwise."""
    from csi_cinderlib.persistence.sql.location import URL_KEY

    try:
        yield
    except ConfigurationError as error:
        if not into:
            raise
        raise error.renamed(lambda key: "--into" if key == URL_KEY else key) from error


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
    from csi_cinderlib.app import stores

    settings = _settings(given, into)
    with progress.shown("comparing with the store"), stores.looked_at(settings) as (_, store):
        planned = writing.plan(store, found.records())
    for line in report.lines(found, planned, source, None if into else _backends(settings)):
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
        _write(settings, planned, source, into)
    elif not planned.done:
        output.print_text("dry run: nothing written; add --write to write", sys.stderr)
    return 0


def _settings(given: options.Given, into: str) -> Settings:
    """The settings, with the store of `--into`. Raises ConfigurationError: the records would not outlive this process."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config.settings import StoreSettings
    from csi_cinderlib.persistence.sql.location import without_driver

    settings = options.settings(given)
    if into:
        return replace(settings, store=StoreSettings(plugin="sql", options={"url": without_driver(into)}))
    if settings.store.plugin in stores.IN_MEMORY:
        raise ConfigurationError(
            "store.plugin", f"the plugin {settings.store.plugin!r} keeps records only in memory; use another store"
        )
    return settings


def _backends(settings: Settings) -> frozenset[str]:
    from csi_cinderlib.config import live

    return frozenset(backend.name for backend in live.backends(settings).backends)


def _write(settings: Settings, planned: Plan, source: str, into: str) -> None:
    from csi_cinderlib.adoption import writing
    from csi_cinderlib.persistence.transfer import Transferred

    with progress.shown("adopting") as shown, _opened(settings, into) as store:
        writing.carry_out(store, planned, source, shown)
    output.print_text(f"adopted: {Transferred(planned.stored)}, checksum {planned.checksum}", sys.stderr)


def _opened(settings: Settings, into: str) -> AbstractContextManager[Store]:
    """The store for changes. That of `--into` needs no state directory, so none is created."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config import live
    from csi_cinderlib.persistence import sql
    from csi_cinderlib.sealing import Sealer

    if not into:
        return stores.opened(settings)
    sealer = Sealer(live.sealing_keys(settings))
    store = sql.open_store(
        settings.store.options, state_dir=settings.state_dir, sealer=sealer if sealer.active else None
    )
    return closing(store)
