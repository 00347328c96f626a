"""A back end whose driver runs in this process, for users of the library: cinderlib's API exposes the driver object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from csi_cinderlib.cinder.cinder_driver import CinderDriver
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle import backend, room
from csi_cinderlib.lifecycle.backend import NO_TYPES, no_other_process
from csi_cinderlib.model import times
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.observe.unmeasured import Meter
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store


class LocalBackend(backend.Backend):
    """See `lifecycle.backend.Backend`; for the other arguments see `cinder.cinder_driver.CinderDriver`."""

    verbs: CinderDriver

    def __init__(  # noqa: PLR0913  # keyword-only, see `Backend`
        self,
        settings: BackendSettings,
        *,
        store: Store,
        runtime: Runtime,
        volume_types: Mapping[str, VolumeType] = NO_TYPES,
        owner: str = "",
        clock: Callable[[], datetime] = times.utc_now,
        is_alive: Callable[[str], bool] = no_other_process,
        meter: Meter | None = None,
        check_lease: Callable[[], None] = lease.unshared,
        ensure_exports: bool = True,
    ) -> None:
        driver = CinderDriver(
            settings,
            store=store,
            runtime=runtime,
            meter=meter,
            check_lease=check_lease,
            ensure_exports=ensure_exports,
        )
        super().__init__(
            settings,
            driver,
            store=store,
            room=room.of(runtime.state_dir),
            owner=owner or runtime.owner,
            volume_types=volume_types,
            clock=clock,
            is_alive=is_alive,
        )

    @property
    def driver(self) -> Any:
        """The Cinder driver object. Raises BackendUnavailable."""
        return self.verbs.driver

    def wait_for_exports(self) -> None:
        """Wait until the exports at start have succeeded or failed for all attached volumes."""
        self.verbs.wait_for_exports()
