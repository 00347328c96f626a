"""`csi-cinderlib check`: tests the configuration, the metadata store, the cluster and the back ends. Changes nothing."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.commands.examination.findings import Finding, is_bad, levels, print_findings, problem, unknown
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import BackendSettings, Mode, Settings
from csi_cinderlib.drivers import looking
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, DriverError, Problem
from csi_cinderlib.host import removal
from csi_cinderlib.observe import progress, redact

if TYPE_CHECKING:
    from csi_cinderlib.backend.stats import BackendStats
    from csi_cinderlib.lifecycle.remote import RemoteBackend

TIMEOUT = 60.0
"""Seconds for the set-up of each back end, and for each step after it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Findings of one part, and their exit code."""

    findings: tuple[Finding, ...]
    code: int = 0

    @classmethod
    def failed(cls, what: str, error: DriverError, details: Iterable[str]) -> Outcome:
        """Exit code 2 for a configuration error, 1 for all other errors."""
        advice = "correct the configuration" if isinstance(error, ConfigurationError) else ""
        found = tuple(problem(what, detail, advice, required=True) for detail in details)
        return cls(found, 2 if isinstance(error, ConfigurationError) else 1)

    @classmethod
    def wrong(cls, what: str, problems: Iterable[Problem]) -> Outcome:
        """Problems of the configuration."""
        error = ConfigurationError.of(problems)
        return cls.failed(what, error, [redact.text(str(ConfigurationError(*found))) for found in error.problems])

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Outcome:
        found = tuple(findings)
        return cls(found, int(is_bad(found)))


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise click.BadParameter(f"must be a positive number of seconds (got {text!r})")


@click.command()
@click.option(
    "--timeout",
    callback=_seconds,
    default=str(TIMEOUT),
    metavar="SECONDS",
    help=f"Time limit for the set-up of each back end, and for each later step. [default: {TIMEOUT:.0f}]",
)
@levels
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format, timeout: float, shown: Sequence[str]) -> int:
    """Return 2 if a setting is wrong, 1 if something does not respond. All parts are tried, even after a failure."""
    settings, problems = options.examined(given)
    from csi_cinderlib.app import configured

    known = configured.backends(settings)
    found = known.found
    if problems and not found.backends and not found.partial:
        raise ConfigurationError.of(problems)
    parts = [Outcome.wrong(CONFIGURATION, problems)] if problems else []
    if settings.mode is Mode.NODE:
        parts.append(Outcome((_OF_NODE,)))
    elif all(problem.key.startswith("backends.") for problem in problems):
        parts += [_try_store(settings), _try_cluster(settings)]
    else:
        parts.append(Outcome((_SKIPPED,)))
    parts += _try_backends(settings, found, problems, timeout)
    if known.failure is not None:
        parts.append(Outcome.failed("back ends of objects", known.failure, [str(known.failure)]))
    print_findings([finding for part in parts for finding in part.findings], format, shown)
    return max((part.code for part in parts), default=0)


CONFIGURATION = "configuration"
_OF_NODE = unknown("controller", "not checked in mode node", "run `csi-cinderlib doctor` to check a node")
_SKIPPED = unknown("controller", "store and cluster not checked: the configuration has errors")


def _try_store(settings: Settings) -> Outcome:
    from csi_cinderlib.commands.examination import store

    try:
        return Outcome.of(store.examine(settings))
    except DriverError as error:
        return Outcome.failed(f"store {settings.store.plugin}", error, [str(error)])


def _try_cluster(settings: Settings) -> Outcome:
    from csi_cinderlib.commands.examination import cluster

    with progress.shown("checking the cluster"):
        return Outcome.of(cluster.examine(settings))


def _try_backends(settings: Settings, found: live.Found, problems: Sequence[Problem], timeout: float) -> list[Outcome]:
    """Try all back ends in parallel, each in its own process, as a controller does. Outcomes are in the order of the configuration.

    If a back end has problems of its own, only its options are checked; its storage is not contacted.
    """
    from csi_cinderlib.observe import logs

    logs.configure(format=settings.log.format, level=settings.log.level)
    whole = {backend.name: backend for backend in found.backends}
    partial = {backend.name: backend for backend in found.partial if backend.name not in whole}
    doubtful = {*partial, *_named(whole, problems)}
    tried = [*whole.values(), *partial.values()]
    told = [*problems, *(problem for error in found.broken for problem in error.problems)]
    keys = {problem.key.rpartition(": ")[2] for problem in told}
    with removal.temporary_directory("csi-cinderlib-check-", patience=timeout) as directory:
        looking.mark(directory, settings.state_dir)
        backends = [_make(backend, settings, directory, len(tried), timeout) for backend in tried]
        with ThreadPoolExecutor(max(1, len(backends))) as pool, _ended(backends):
            attempts = [
                pool.submit(_check_options if backend.name in doubtful else _try, backend, timeout)
                for backend in backends
            ]
            outcomes = [
                _tell(backend, attempt, attempts, keys) for backend, attempt in zip(backends, attempts, strict=True)
            ]
    return [*outcomes, *(Outcome.wrong("back ends", error.problems) for error in found.broken)]


def _named(names: Collection[str], problems: Iterable[Problem]) -> Iterator[str]:
    """The names of back ends with a problem. A name may contain dots, so the longest name that matches counts."""
    for wrong in problems:
        found = [name for name in names if f"{wrong.key}.".startswith(f"backends.{name}.")]
        yield from sorted(found, key=len)[-1:]


def _check_options(backend: RemoteBackend, timeout: float) -> None:
    """Raises ConfigurationError. Without all of its options, a driver may fail in any other way."""
    with suppress(BackendUnavailable):
        backend.check_options(timeout)


def _try(backend: RemoteBackend, timeout: float) -> BackendStats:
    """Set up a back end and return its report, which is requested again if it has expired."""
    backend.start()
    return backend.stats(within=timeout)


@contextmanager
def _ended(backends: Sequence[RemoteBackend]) -> Iterator[None]:
    """End all drivers' processes and their programs, even after Ctrl-C or SIGTERM: threads waiting for them would delay the exit."""
    from csi_cinderlib.backend import forking

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _stopped)
    try:
        yield
    finally:
        for backend in backends:
            backend.stop()
        forking.abandon()
        with ThreadPoolExecutor(max(1, len(backends))) as pool:  # waits for each, with a limit
            list(pool.map(lambda backend: backend.kill(), backends))


def _stopped(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _make(
    configured: BackendSettings, settings: Settings, directory: Path, count: int, timeout: float
) -> RemoteBackend:
    from csi_cinderlib.backend.assignment import Assignment
    from csi_cinderlib.backend.bulkhead import Bulkhead
    from csi_cinderlib.host.deadline import Deadline
    from csi_cinderlib.lifecycle.remote import RemoteBackend
    from csi_cinderlib.observe import logs
    from csi_cinderlib.persistence.memory import open_store

    store = open_store({}, state_dir=directory, sealer=None)

    def assign(is_first: bool) -> Assignment:
        return Assignment(
            settings=configured,
            state_dir=directory,
            cinder_defaults=settings.cinder_defaults,
            traits=store.traits,
            log=replace(settings.log, format=logs.resolve(settings.log.format, sys.stderr)),
            is_first=is_first,
        )

    bulkhead = Bulkhead(settings.workers, lambda: count)
    return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=bulkhead, set_up_seconds=timeout)


def _tell(
    backend: RemoteBackend,
    attempt: Future[BackendStats | None],
    all_of_them: Sequence[Future[BackendStats | None]],
    told: Collection[str],
) -> Outcome:
    """Wait for a back end and return its outcome, without the problems of the keys in `told`."""
    from csi_cinderlib.backend import secret_values
    from csi_cinderlib.commands.examination import reports

    _wait_for(attempt, all_of_them)
    name, driver = backend.name, backend.settings.driver
    notes = tuple(reports.notes(backend.settings))
    try:
        stats = attempt.result()  # first, because a failed back end has no capabilities
        if stats is None:
            return Outcome.of(notes)
        return Outcome.of((*notes, *reports.describe(name, driver, backend.capabilities, stats)))
    except DriverError as error:
        parts = (
            [ConfigurationError(*found) for found in error.problems if found.key not in told]
            if isinstance(error, ConfigurationError)
            else [error]
        )
        hidden = tuple(secret_values.of_options(backend.settings))
        details = [f"{driver}: {redact.of_backend(part, hidden)}" for part in parts]
        failed = Outcome.failed(f"back end {name}", error, details)
        return replace(failed, findings=(*notes, *failed.findings))


def _wait_for(attempt: Future[BackendStats | None], all_of_them: Sequence[Future[BackendStats | None]]) -> None:
    """On a terminal, show how many back ends have answered, until this one has.

    Python handles signals when its main thread wakes up. A signal that arrives just before the wait, or that the kernel delivers to
    another thread, does not wake it. So each wait is short.
    """
    shown = ""
    while not attempt.done():
        if sys.stderr.isatty():
            shown = f"{sum(future.done() for future in all_of_them)} of {len(all_of_them)} back ends have answered"
            print(f"\r{shown}", end="", file=sys.stderr, flush=True)  # noqa: T201  # the carriage return is meant
        wait([attempt], 0.5)
    if shown:
        print(f"\r{' ' * len(shown)}\r", end="", file=sys.stderr, flush=True)  # noqa: T201  # as above
