"""Acquires and renews the lease of the active controller, and ends the process when the lease is lost."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.app.stores import KUBERNETES
from csi_cinderlib.backend import forking
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.errors import DriverError, LeaseLost
from csi_cinderlib.host import kernel
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence import lease, plugins
from csi_cinderlib.persistence.api import Store

FILE = "lease"
"""File in the state directory with the lease identity of its processes."""
ANSWER_SECONDS = 3.0
"""Timeout of the store for a renewal."""

_log = logs.logger(__name__)


def end_process(reason: str) -> None:
    """End the process at once: running driver calls must not send anything more. Their records tell the next holder how to continue."""
    _log.error("active controller role lost", reason=reason)
    forking.abandon()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(1)


class Leadership:
    """One attempt of this process to be the active controller.

    Args:
        end: called with the reason, in any thread, when the lease is lost.
    """

    def __init__(self, held: lease.Lease, *, end: Callable[[str], None] = end_process) -> None:
        self.lease = held
        self._end = end
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._renew, name="lease", daemon=True),
            threading.Thread(target=self._watch, name="lease-deadline", daemon=True),
        ]

    @property
    def is_held(self) -> bool:
        """Whether this process is the active controller."""
        return self._threads[0].is_alive()

    def wait(self, stopping: Stopping, readiness: Readiness) -> bool:
        """Wait for the lease and renew it from then on; False if the process stops first.

        May be called again if the following steps of the start have failed.
        """
        if self.is_held:
            return True
        while not self._acquired(readiness):
            if stopping.wait(self.lease.next_look()):
                return False
        readiness.starting()
        _log.info("active controller role acquired", lease=self.lease.identity)
        for thread in self._threads:
            thread.start()
        return True

    def _acquired(self, readiness: Readiness) -> bool:
        was = readiness.why_not
        try:
            if self.lease.acquire():
                return True
            readiness.standby(f"standby: {self.lease.holder} holds the lease")
        except DriverError as error:
            readiness.failed(f"cannot acquire the lease of the active controller: {error}")
        if readiness.why_not != was:
            _log.info("not the active controller", reason=readiness.why_not)
        return False

    def close(self, *, release: bool) -> None:
        """Stop renewing. Without `release` the lease expires, as it must while a driver may still be working."""
        self._done.set()
        if self._threads[0].is_alive():
            self._threads[0].join(ANSWER_SECONDS)
        if release and not self._threads[0].is_alive():
            self.lease.release()

    def _renew(self) -> None:
        timing = self.lease.timing
        pause = timing.renew
        while not self._done.wait(pause):
            pause = timing.retry
            try:
                self.lease.renew()
            except LeaseLost as error:
                self._end(str(error))
                return
            except DriverError as error:
                _log.warning("lease renewal failed", reason=str(error), remaining=round(self._left(), 1))
            except Exception as error:  # a bug: if it persists, the deadline ends the process
                _log.exception("lease renewal failed", error)
            else:
                pause = timing.renew

    def _watch(self) -> None:
        """Enforces the deadline even if a renewal hangs."""
        while not self._done.wait(max(0.0, self._left())):
            if self._left() <= 0:
                self._end(f"the lease was not renewed for {self.lease.timing.deadline:.0f} s")
                return

    def _left(self) -> float:
        return self.lease.remaining()


def leadership(settings: Settings, store: Store, undo: ExitStack, deadline: Deadline) -> Leadership:
    """Leadership by the lease of the store: a Kubernetes Lease for custom resources, otherwise a row in the database.

    Args:
        undo: receives the objects to close afterwards.
        deadline: for the drivers' processes, which act for this process.

    Raises:
        ConfigurationError, StoreUnavailable.
    """
    record: lease.Record
    if settings.store.plugin == KUBERNETES:
        from csi_cinderlib.persistence.kubernetes import access
        from csi_cinderlib.persistence.kubernetes.leases import KubernetesLease
        from csi_cinderlib.persistence.kubernetes.rest import Client

        reached = access(settings.store.options)
        client = Client(reached, connections=1, read_seconds=ANSWER_SECONDS)
        undo.callback(client.close)
        record = KubernetesLease(client, reached.namespace)
    else:
        plain = _open_plain(settings)
        undo.callback(plain.close)
        record = lease.StoredLease(store, plain)
    return Leadership(lease.Lease(record, identity(settings.state_dir), deadline=deadline))


def _open_plain(settings: Settings) -> Store:
    """The store without a sealer; in a database, with its own connection."""
    options = dict(settings.store.options)
    if settings.store.plugin == "sql":
        options |= {"pool_size": 1, "statement_timeout": ANSWER_SECONDS, "connect_timeout": ANSWER_SECONDS}
        options |= {"migrate": False}
    return plugins.open_store(settings.store.plugin, options, state_dir=settings.state_dir, sealer=None)


def identity(state_dir: Path, boot_id: Path = kernel.BOOT_ID) -> str:
    """The lease identity of the process that has locked the state directory.

    The next process that locks it on this machine has the same identity: its predecessor has ended, so it need not wait for the lease.
    """
    file, boot = state_dir / FILE, ""
    with suppress(OSError):
        boot = kernel.boot_id(boot_id)
    with suppress(OSError, UnicodeError):
        kept_boot, _, kept = file.read_text().strip().partition(" ")
        if boot and kept_boot == boot and kept:  # a copy of the directory on another machine needs its own identity
            return kept
    name = f"{socket.gethostname()}_{secrets.token_hex(6)}"
    with suppress(OSError):  # on a full disk, the next process waits until the lease expires
        file.write_text(f"{boot} {name}\n")
    return name
