"""All configured back ends, of files and of objects, for commands. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csi_cinderlib.app import stores
from csi_cinderlib.config import live
from csi_cinderlib.config import objects as specs
from csi_cinderlib.config.load import segments
from csi_cinderlib.config.settings import BackendSettings, Mode, Settings
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.lifecycle import claims
from csi_cinderlib.lifecycle.claims import Claim
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.api import Store

if TYPE_CHECKING:
    from csi_cinderlib.app.object_states import Declared
    from csi_cinderlib.persistence.kubernetes.rest import Client

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """The configured back ends, as far as they can be read.

    Attributes:
        failure: why the objects could not be listed; None if they were, or if this process is not configured for Kubernetes.
        secrets: all values of the Secrets of all objects, also of refused ones, to be hidden.
    """

    found: live.Found
    failure: DriverError | None = None
    secrets: tuple[str, ...] = ()


def backends(settings: Settings, store: Store | None = None) -> Known:
    """The back ends of files, and those of BackendConfiguration objects if this process is configured for Kubernetes.

    Refused objects are in `Found.unreadable`, under a path with their kind and name.

    Args:
        store: has the claims of objects; None opens it for reading.
    """
    found = live.backends(settings)
    if settings.mode is Mode.NODE or not settings.in_kubernetes:
        return Known(found)
    try:
        return _with_objects(settings, found, {claim.backend: claim for claim in _claims(settings, store)})
    except DriverError as error:
        return Known(found, error)


def _claims(settings: Settings, store: Store | None) -> tuple[Claim, ...]:
    if store is not None:
        return claims.read(store)
    with suppress(DriverError), stores.reading(settings) as opened:
        return claims.read(opened)
    return ()  # without a readable store, the files decide about names that both have


def _with_objects(settings: Settings, found: live.Found, claimed: Mapping[str, Claim]) -> Known:
    from csi_cinderlib.persistence.kubernetes import access
    from csi_cinderlib.persistence.kubernetes.resources import CONFIGURATION
    from csi_cinderlib.persistence.kubernetes.rest import Client

    store = settings.store
    reached = access(store.options if store.plugin == stores.KUBERNETES else {})
    client = Client(reached, connections=1)
    try:
        items = _listed(client, CONFIGURATION.path(reached.namespace))
        secret = partial(_secret, client, reached.namespace)
        hidden = tuple(values_to_hide(_mine(settings, claimed, items), secret))
        return Known(_merged(settings, found, claimed, items, secret), secrets=hidden)
    finally:
        client.close()


def _listed(client: Client, path: str) -> list[Json]:
    from csi_cinderlib.persistence.kubernetes.rest import ApiError

    try:
        return list(client.get(path)["items"])
    except ApiError as error:
        if error.status != 404:  # the definition is not installed, so there are none
            raise
    return []


def _merged(
    settings: Settings, found: live.Found, claimed: Mapping[str, Claim], items: list[Json], secret: Any
) -> live.Found:
    from csi_cinderlib.app.object_reading import Refused, settings_of

    known = {backend.name: backend for backend in found.backends}
    files, unreadable = dict(found.files), dict(found.unreadable)
    for item in _mine(settings, claimed, items):
        if not item.is_owner and (item.name in known or item.name in claimed):
            continue
        files.pop(item.name, None)
        try:
            read = settings_of(item, secret, partial(segments, settings))
            known[item.name] = replace(read, drained=read.drained or item.is_deleting)
        except Refused as error:
            known.pop(item.name, None)
            unreadable[_path(item.object)] = _wrong(error.refusal.message)
    return replace(found, backends=tuple(known.values()), files=files, unreadable=unreadable)


def values_to_hide(declared: Iterable[Declared], secret: Callable[[str], Mapping[str, bytes]]) -> Iterator[str]:
    """All values of the Secrets of these objects: a driver may run with them whatever the objects say now."""
    from csi_cinderlib.app.object_reading import Refused

    for name in {specs.secret_name(item.spec) for item in declared} - {""}:
        with suppress(Refused):
            for value in secret(name).values():
                yield from redact.all_in(value.decode("utf-8-sig", errors="replace"))


def _mine(settings: Settings, claimed: Mapping[str, Claim], items: list[Json]) -> Iterator[Declared]:
    from csi_cinderlib.app.object_reading import backend_name
    from csi_cinderlib.app.object_states import Declared
    from csi_cinderlib.persistence.kubernetes.names import label_value
    from csi_cinderlib.persistence.kubernetes.statuses import owner

    owners = {claim.uid: claim for claim in claimed.values()}
    for item in items:
        if (claim := owners.get(item["metadata"]["uid"])) is not None:
            if claim.driver == settings.driver_name:
                yield Declared(claim.backend, item, is_owner=True)
        elif owner(item) in {"", label_value(settings.driver_name)}:
            yield Declared(backend_name(item), item)


def _secret(client: Client, namespace: str, name: str) -> Mapping[str, bytes]:
    from csi_cinderlib.app.object_reading import Refused, absent, secret_data
    from csi_cinderlib.app.object_states import UNREADABLE
    from csi_cinderlib.persistence.kubernetes.rest import ApiError

    try:
        return secret_data(name, client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
    except ApiError as error:
        raise absent(name) if error.status == 404 else Refused(UNREADABLE, f"spec.secretRef.name: {error}") from None


def _path(name: str) -> Path:
    return Path("backendconfigurations", name)


def _wrong(message: str) -> ConfigurationError:
    return ConfigurationError("backendconfigurations", message)


def shown(backend: BackendSettings) -> BackendSettings:
    """The settings without the values that come from Secrets."""
    hidden = dict.fromkeys(backend.origins, "***")
    return replace(backend, options={**backend.options, **hidden})
