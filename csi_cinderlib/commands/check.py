"""`csi-cinderlib check`: is the configuration right, do the metadata store and the back ends answer? Changes nothing in either."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from csi_cinderlib.commands import options
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import Mode, Settings
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.host import removal
from csi_cinderlib.observe import redact

if TYPE_CHECKING:
    from csi_cinderlib.backend.backend import Backend

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


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)


def run(args: argparse.Namespace) -> int:
    """2 when a setting is wrong, 1 when something does not answer; each part is tried, whatever the others did."""
    settings = options.settings(args)
    code = 0 if settings.mode is Mode.NODE else _try_store(settings)
    return max(code, _try_backends(settings))


def _try_store(settings: Settings) -> int:
    print(f"store: {settings.store.plugin}")
    try:
        _describe_store(settings)
    except DriverError as error:
        print(f"  FAILED: {error}")
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


def _describe_store(settings: Settings) -> None:
    """Raises ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.provisioning import installation

    with stores.looked_at(settings) as (place, store):
        print(f"  {place}")
        namespace = None if store is None else installation.find(store)
    print(
        f"  namespace of ids: {namespace.uuid if namespace else 'none yet; the controller makes it at its first start'}"
    )


def _try_backends(settings: Settings) -> int:
    from csi_cinderlib.backend.backend import Backend
    from csi_cinderlib.backend.runtime import Runtime
    from csi_cinderlib.observe import logs
    from csi_cinderlib.persistence.memory import open_store

    logs.configure(format=settings.log.format, level="error")
    found = live.backends(settings)
    with removal.temporary_directory("csi-cinderlib-check-") as directory:
        store = open_store({}, state_dir=directory, sealer=None)
        runtime = Runtime(directory, defaults=settings.cinder_defaults)
        types = settings.volume_types
        codes = [_try(Backend(one, store=store, runtime=runtime, volume_types=types)) for one in found.backends]
        runtime.close()
    return max([*codes, *map(_unreadable, found.broken)], default=0)


def _unreadable(error: ConfigurationError) -> int:
    print(f"back ends that cannot be read\n  FAILED: {redact.text(str(error))}")
    return 2


def _try(backend: Backend) -> int:
    print(f"{backend.name}: {backend.settings.driver}")
    try:
        backend.start()
        _describe(backend)
    except DriverError as error:
        print(f"  FAILED: {backend.without_secrets(error)}")
        return 2 if isinstance(error, ConfigurationError) else 1
    finally:
        backend.stop()
    return 0


def _describe(backend: Backend) -> None:
    stats = backend.stats()
    can = {name.replace("_", " "): getattr(backend.capabilities, name) for name in CAPABILITIES}
    about = " ".join(filter(None, (stats.vendor, stats.version)))
    print(f"  protocol {stats.protocol or 'unknown'}{f'; {about}' if about else ''}")
    print(f"  can: {', '.join(name for name, offered in can.items() if offered) or 'the basics'}")
    if missing := [name for name, offered in can.items() if not offered]:
        print(f"  cannot: {', '.join(missing)}")
    for pool in stats.pools:
        print(f"  pool {pool.name}: {_gib(pool.free)} free of {_gib(pool.total)}")


def _gib(size: float | None) -> str:
    if size is None:
        return "an unknown amount"
    return "no limit" if math.isinf(size) else f"{size:.1f} GiB"
