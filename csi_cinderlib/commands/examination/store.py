"""The metadata store: its location, write access, schema and lease holder. Reads only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from csi_cinderlib.app import stores
from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import installation


def examine(settings: Settings) -> Iterator[Finding]:
    """Raises ConfigurationError or StoreUnavailable."""
    plugin = settings.store.plugin
    with stores.looked_at(settings) as (place, store):
        yield ok("store", f"{plugin}: {place}")
        if plugin == "memory":
            yield note("store", "all records are lost when the process ends", "use store memory for tests only")
        if plugin == "sql":
            yield from _sql(settings, has_schema=store is not None)
        namespace = None if store is None else installation.find(store)
        if store is not None and plugin == "sql" and not _is_file(settings):
            yield judge_lease(store)
    found = namespace.uuid if namespace else "none yet; the controller creates it at its first start"
    yield ok("namespace of ids", str(found))


def _is_file(settings: Settings) -> bool:
    from csi_cinderlib.persistence.sql.location import locate

    return locate(settings.store.options, settings.state_dir).is_file


def _sql(settings: Settings, *, has_schema: bool) -> Iterator[Finding]:
    from csi_cinderlib.persistence.sql.location import locate
    from csi_cinderlib.persistence.sql.schema import HEAD

    location = locate(settings.store.options, settings.state_dir)
    if has_schema:
        yield ok("store schema", f"is current ({HEAD})")
    else:
        yield note(
            "store schema",
            "missing or older",
            "`csi-cinderlib serve` at its start, or `csi-cinderlib migrate`, creates or updates it",
        )
    if location.is_file:
        yield judge_file(location.file)
    elif has_schema:
        yield ok("store access", "this user may insert, change and delete rows in each table")
    else:
        yield unknown("store access", "permission to create tables was not checked", "run `csi-cinderlib migrate`")


def judge_file(file: Path) -> Finding:
    """Whether this user can write an SQLite file and its journal."""
    folder = next(place for place in file.absolute().parents if place.exists())
    if file.exists() and not os.access(file, os.W_OK):
        return problem(
            "store access", f"{file} is not writable by this user", "run it as the service's user", required=True
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem(
            "store access",
            f"this user cannot create files in {folder}",
            "run it as the service's user",
            required=True,
        )
    return ok("store access", f"this user can write in {folder}")


def judge_lease(store: Store) -> Finding:
    """The lease's holder. The row has no time that is comparable with this host's clock."""
    try:
        holder = str(json.loads(store.get(KeyValue, lease.KEY).value)["holder"])
    except NotFound:
        return note("lease", "no controller has been active yet", "start the controller")
    except (ValueError, KeyError, TypeError):
        return unknown("lease", "cannot read its record: another version wrote it")
    if not holder:
        return note("lease", "no holder: no controller is active", "start the controller")
    return ok("lease", f"last holder: {holder}")
