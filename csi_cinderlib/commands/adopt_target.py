"""The store into which `csi-cinderlib adopt` writes, for all its commands."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import progress

if TYPE_CHECKING:
    from csi_cinderlib.adoption.writing import Plan
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.api import Store

URL_VARIABLE, INTO_VARIABLE = "CINDERLIB_ADOPT_URL", "CINDERLIB_ADOPT_INTO"
"""URLs may contain passwords, which the variables do not show in the list of processes."""


def into(callback: options.Callback) -> options.Callback:
    """Add --into."""
    return click.option(
        "--into",
        metavar="URL",
        default="",
        envvar=INTO_VARIABLE,
        help=f"Database of a program with the library. [env: {INTO_VARIABLE}; default: the configured store]",
    )(callback)


@contextmanager
def naming_into(into: str) -> Iterator[None]:
    """Name `--into` in errors about its URL, which is a setting of the store otherwise."""
    from csi_cinderlib.persistence.sql.location import URL_KEY

    try:
        yield
    except ConfigurationError as error:
        if not into:
            raise
        raise error.renamed(lambda key: "--into" if key == URL_KEY else key) from error


def settings(given: options.Given, into: str) -> Settings:
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


def backends(settings: Settings) -> dict[str, str]:
    """The names of the configured back ends, with why each accepts no new volumes; "" if it does."""
    from csi_cinderlib.app import configured

    known = configured.backends(settings)
    if known.failure is not None:
        output.print_text(f"back ends of objects are not known: {known.failure}", sys.stderr)
    return {
        backend.name: "it is drained, or its object is being deleted"
        if backend.drained
        else "it is paused"
        if backend.paused
        else ""
        for backend in known.found.backends
    }


def pools(settings: Settings) -> dict[str, frozenset[str]]:
    """The pools that the running driver reports, by back end; empty if none runs here, or if a back end has reported none yet."""
    from csi_cinderlib.commands import backend_rows

    seen, _ = backend_rows.states(settings)
    return {name: frozenset(str(pool["name"]) for pool in found.get("pools", ())) for name, found in seen.items()}


def given_url(url: str) -> str:
    """The URL of a source; - is a line of standard input, which no list of processes and no audit log shows."""
    return sys.stdin.readline().strip() if url == "-" else url


@contextmanager
def looked_at(settings: Settings) -> Iterator[Store | None]:
    """The store for reading, or None if it does not exist yet."""
    from csi_cinderlib.app import stores

    with stores.looked_at(settings) as (_, store):
        yield store


def write(settings: Settings, planned: Plan, source: str, into: str, known: Collection[str]) -> None:
    """Write the records, verify them, and print their counts.

    Args:
        known: the back ends that were configured when the plan was made.
    """
    from csi_cinderlib.adoption import writing
    from csi_cinderlib.persistence.transfer import Transferred

    with progress.shown("adopting") as shown, opened(settings, into) as store:
        writing.carry_out(store, planned, source, shown, lambda: {} if into else closed(settings, known))
    output.print_text(f"adopted: {Transferred(planned.stored)}, checksum {planned.checksum}", sys.stderr)


@contextmanager
def opened(settings: Settings, into: str) -> Iterator[Store]:
    """The store for changes, by one run of the command at a time. Raises PreconditionFailed: another one writes to it."""
    from csi_cinderlib.adoption import exclusive

    with _opened(settings, into) as store, exclusive.held(store) as leased:
        yield leased


def _opened(settings: Settings, into: str) -> AbstractContextManager[Store]:
    """That of `--into` needs no state directory, so none is created."""
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


def closed(settings: Settings, before: Collection[str]) -> dict[str, str]:
    """The back ends that accept no new volumes now, with the reason.

    Args:
        before: those that were configured before.
    """
    known = dict.fromkeys(before, "it is no longer configured") | backends(settings)
    return {name: reason for name, reason in known.items() if reason}
