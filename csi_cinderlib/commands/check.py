"""`csi-cinderlib check`: is the configuration right, do the metadata store and the back ends answer? Changes nothing in either."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import BackendSettings, Mode, Settings
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.host import removal
from csi_cinderlib.observe import redact

if TYPE_CHECKING:
    from csi_cinderlib.backend.stats import BackendStats
    from csi_cinderlib.lifecycle.remote import RemoteBackend

TIMEOUT = 60.0
"""Seconds for the set-up of each back end, and as many for each step after it."""

CAPABILITIES = (
    "multiattach",
    "online_extend",
    "thin",
    "qos",
    "snapshots",
    "snapshot_attached",
    "independent_snapshots",
    "revert",
    "group_snapshots",
    "consistent_group_snapshots",
)
"""Beyond what every driver can: volumes, clones, connections."""


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise click.BadParameter(f"{text!r} is not a number of seconds above 0")


@click.command()
@click.option(
    "--timeout",
    callback=_seconds,
    default=str(TIMEOUT),
    metavar="SECONDS",
    help=f"Limit for the set-up of each back end, and for each step after it. [default: {TIMEOUT:.0f}]",
)
@options.configuration
def command(given: options.Given, timeout: float) -> int:
    """2 when a setting is wrong, 1 when something does not answer; each part is tried, whatever the others did."""
    settings = options.quiet(given)
    code = 0 if settings.mode is Mode.NODE else _try_store(settings)
    return max(code, _try_backends(settings, timeout))


def _try_store(settings: Settings) -> int:
    output.print_text(f"store: {settings.store.plugin}")
    try:
        _describe_store(settings)
    except DriverError as error:
        output.print_text(f"  FAILED: {error}")
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def _describe_store(settings: Settings) -> None:
    """Raises ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.provisioning import installation

    with stores.looked_at(settings) as (place, store):
        output.print_text(f"  {place}")
        namespace = None if store is None else installation.find(store)
    output.print_text(
        f"  namespace of ids: {namespace.uuid if namespace else 'none yet; the controller makes it at its first start'}"
    )


def _try_backends(settings: Settings, timeout: float) -> int:
    """All at once, each in a process of its own, as in a controller; told in the order of the configuration."""
    from csi_cinderlib.observe import logs

    logs.configure(format=settings.log.format, level=settings.log.level)
    found = live.backends(settings)
    with removal.temporary_directory("csi-cinderlib-check-", patience=timeout) as directory:
        backends = [_make(one, settings, directory, len(found.backends), timeout) for one in found.backends]
        with ThreadPoolExecutor(max(1, len(backends))) as pool, _ended(backends):
            attempts = [pool.submit(_try, backend, timeout) for backend in backends]
            codes = [_tell(backend, attempt, attempts) for backend, attempt in zip(backends, attempts, strict=True)]
    return max([*codes, *map(_unreadable, found.broken)], default=0)


def _try(backend: RemoteBackend, timeout: float) -> BackendStats:
    """Set it up; its report, which is asked for again if it has expired already."""
    backend.start()
    return backend.stats(within=timeout)


@contextmanager
def _ended(backends: Sequence[RemoteBackend]) -> Iterator[None]:
    """End all drivers' processes and their programs, also after Ctrl-C or SIGTERM: the threads that wait for them would delay the end."""
    from csi_cinderlib.backend import forking

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else nohup has it ignored
            signal.signal(number, _stopped)
    try:
        yield
    finally:
        for backend in backends:
            backend.stop()
        forking.abandon()
        with ThreadPoolExecutor(max(1, len(backends))) as pool:  # each is waited for, but not for ever
            list(pool.map(lambda backend: backend.kill(), backends))


def _stopped(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _make(one: BackendSettings, settings: Settings, directory: Path, count: int, timeout: float) -> RemoteBackend:
    from csi_cinderlib.backend.assignment import Assignment
    from csi_cinderlib.backend.bulkhead import Bulkhead
    from csi_cinderlib.host.deadline import Deadline
    from csi_cinderlib.lifecycle.remote import RemoteBackend
    from csi_cinderlib.observe import logs
    from csi_cinderlib.persistence.memory import open_store

    store = open_store({}, state_dir=directory, sealer=None)

    def assign(is_first: bool) -> Assignment:
        return Assignment(
            settings=one,
            state_dir=directory,
            cinder_defaults=settings.cinder_defaults,
            traits=store.traits,
            log=replace(settings.log, format=logs.resolve(settings.log.format, sys.stderr)),
            is_first=is_first,
        )

    bulkhead = Bulkhead(settings.workers, lambda: count)
    return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=bulkhead, set_up_seconds=timeout)


def _tell(backend: RemoteBackend, attempt: Future[BackendStats], all_of_them: Sequence[Future[BackendStats]]) -> int:
    """What came of a back end, once it is known."""
    _wait_for(attempt, all_of_them)
    output.print_text(f"{backend.name}: {backend.settings.driver}", flush=True)
    try:
        _describe(backend, attempt.result())
    except DriverError as error:
        output.print_text(f"  FAILED: {redact.of_backend(error, backend.settings.options)}", flush=True)
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def _wait_for(attempt: Future[BackendStats], all_of_them: Sequence[Future[BackendStats]]) -> None:
    """On a terminal, show how many back ends have answered, until this one has.

    Python carries a signal out when its main thread wakes up. One that comes just before that thread begins to wait, or that the kernel
    hands to another one, does not wake it: so it never waits for long.
    """
    shown = ""
    while not attempt.done():
        if sys.stderr.isatty():
            shown = f"{sum(future.done() for future in all_of_them)} of {len(all_of_them)} back ends have answered"
            print(f"\r{shown}", end="", file=sys.stderr, flush=True)  # noqa: T201  # the carriage return is meant
        wait([attempt], 0.5)
    if shown:
        print(f"\r{' ' * len(shown)}\r", end="", file=sys.stderr, flush=True)  # noqa: T201  # as above


def _unreadable(error: ConfigurationError) -> int:
    output.print_text(f"back ends that cannot be read\n  FAILED: {redact.text(str(error))}")
    return 2


def _describe(backend: RemoteBackend, stats: BackendStats) -> None:
    can = {name.replace("_", " "): getattr(backend.capabilities, name) for name in CAPABILITIES}
    about = " ".join(filter(None, (stats.vendor, stats.version)))
    output.print_text(f"  protocol {stats.protocol or 'unknown'}{f'; {about}' if about else ''}")
    output.print_text(f"  can: {', '.join(name for name, offered in can.items() if offered) or 'the basics'}")
    if missing := [name for name, offered in can.items() if not offered]:
        output.print_text(f"  cannot: {', '.join(missing)}")
    for pool in stats.pools:
        output.print_text(f"  pool {pool.name}: {_gib(pool.free)} free of {_gib(pool.total)}")


def _gib(size: float | None) -> str:
    if size is None:
        return "an unknown amount"
    return "no limit" if math.isinf(size) else f"{size:.1f} GiB"
