"""Back ends, with the API of cinderlib."""

from __future__ import annotations

import json as json_text
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack, cast

from csi_cinderlib.cinderlib import default, drivers, exception
from csi_cinderlib.cinderlib.attributes import DriverFields, MaybeName
from csi_cinderlib.cinderlib.class_attributes import OfSetUp
from csi_cinderlib.cinderlib.keywords import NewVolume
from csi_cinderlib.cinderlib.results import DriverDescription, Json, JsonSource, Stats
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle.local import LocalBackend as Core

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library, Persistence

DEFAULT_DRIVER = "cinder.volume.drivers.lvm.LVMVolumeDriver"
"""Cinder's own default of `volume_driver`."""
_NOT_OF_A_POOL = frozenset(
    "driver_version shared_targets sparse_copy_volume storage_protocol vendor_name volume_backend_name".split()
)
_OURS = {"properties", "vendor_prefix"}


class Backend(DriverFields):
    """A storage back end: a Cinder driver that is set up.

    The same name with the same options returns the same object.

    Args:
        volume_backend_name: the name; stored volumes refer to it.
        driver_cfg: `volume_driver`, and the driver's options by their Cinder names. `$name` in a value refers to another
            option given here or to `setup`.

    Raises:
        ValueError: a back end of that name exists with other options.
        ConfigurationError: an option or a library is missing or wrong; names it and the remedy.
        BackendUnavailable: the storage does not respond.
    """

    backends: OfSetUp[Mapping[str, Backend]] = OfSetUp("backends", MappingProxyType({}))
    """The back ends of the set-up, by name."""
    persistence: OfSetUp[Persistence] = OfSetUp("persistence")
    """Its metadata; None before the set-up."""
    fail_on_missing_backend: OfSetUp[bool | None] = OfSetUp("fail_on_missing_backend")
    output_all_backend_info: OfSetUp[bool | None] = OfSetUp("output_all_backend_info")
    project_id: OfSetUp[str | None] = OfSetUp("project_id")
    user_id: OfSetUp[str | None] = OfSetUp("user_id")
    non_uuid_ids: OfSetUp[bool | None] = OfSetUp("non_uuid_ids")
    global_initialization: OfSetUp[bool] = OfSetUp("_is_set_up", before=False)
    """Whether there is a set-up."""
    im_root: OfSetUp[bool | None] = OfSetUp("im_root")
    """Whether this process runs as root and needs no `root_helper`."""

    _library: Library
    _cfg: Mapping[str, Any]
    _volumes: list[Volume] | None
    _stats: Stats | None
    core: Core
    """The implementation (`csi_cinderlib.lifecycle.local.LocalBackend`)."""

    def __new__(cls, volume_backend_name: str, **driver_cfg: object) -> Backend:
        return default.library().backend(volume_backend_name, **driver_cfg)

    @classmethod
    def _of(cls, library: Library, name: str, cfg: Mapping[str, Any]) -> Backend:
        """Create and start a back end. The library ensures that the name is unique."""
        backend = object.__new__(cls)
        backend._library, backend._cfg = library, dict(cfg)
        backend._volumes = backend._stats = None
        known = {**library.cinder_options, **cfg}
        options = {key: _filled_in(value, known) for key, value in cfg.items()}
        driver = str(options.pop("volume_driver", DEFAULT_DRIVER))
        settings = BackendSettings(name=name, driver=driver, options=options, directory=str(Path.cwd()))
        backend.core = Core(
            settings,
            store=library.store,
            runtime=library.runtime,
            is_alive=library.presence.alive,
            ensure_exports=library.ensure_exports,
        )
        backend.core.start()
        backend.core.wait_for_exports()
        return backend

    global_setup = staticmethod(default.setup)

    @classmethod
    def set_persistence(cls, persistence_config: Mapping[str, object] | None) -> None:
        """Change the metadata store of the process-wide set-up and set up its back ends again."""
        default.library().set_persistence(persistence_config)

    # --- properties

    @property
    def id(self) -> str:
        return self.core.name

    @property
    def driver(self) -> Any:
        """The Cinder driver."""
        return self.core.driver

    if not TYPE_CHECKING:  # type checkers know the names in `attributes`

        def __getattr__(self, name: str) -> Any:
            """Attributes of the driver, as in cinderlib."""
            if name.startswith("_") or name == "core":
                raise AttributeError(name)
            return getattr(self.driver, name)

    def __repr__(self) -> str:
        return f"<cinderlib.Backend {self.id}>"

    @property
    def pool_names(self) -> tuple[str, ...]:
        return tuple(pool["pool_name"] for pool in self.stats()["pools"])

    def stats(self, refresh: bool = False) -> Stats:
        """The driver's report, updated with `refresh`. If it has no pools, a pool with the back end's name is added."""
        if refresh or self._stats is None:
            with exception.about(self):
                self._stats = _with_pools(self.core.stats(refresh=bool(refresh)).raw, self.id)
        return self._stats

    def validate_connector(self, connector_dict: Mapping[str, object]) -> None:
        """Raises Cinder's InvalidConnectorException if a host with these connector properties cannot reach the back end."""
        with exception.about(self):
            self.core.validate_connector(connector_dict)

    # --- volumes

    @property
    def volumes(self) -> list[Volume]:
        """All volumes of the back end, read once; `refresh` reads them again."""
        if self._volumes is None:
            self._volumes = self.volumes_filtered()
        return self._volumes

    def volumes_filtered(self, volume_id: str | None = None, volume_name: str | None = None) -> list[Volume]:
        """The matching volumes, read from the metadata store at each call."""
        return self._library.persistence.get_volumes(volume_id=volume_id, volume_name=volume_name, backend_name=self.id)

    def refresh(self) -> None:
        """Read the volumes again if they were read before."""
        if self._volumes is not None:
            self._volumes = self.volumes_filtered()

    def create_volume(
        self, size: int, name: str = "", description: str = "", bootable: bool = False, **kwargs: Unpack[NewVolume]
    ) -> Volume:
        """Create a volume.

        Args:
            size: in GiB.
            kwargs: as for `Volume`: `id`, `pool_name`, `extra_specs`, `qos_specs`, `metadata` ...
        """
        volume = Volume(self, size=size, name=name, description=description, bootable=bootable, **kwargs)
        volume.create()
        return volume

    # --- JSON

    @property
    def config(self) -> Json:
        """The name; with `output_all_backend_info` the whole configuration, including passwords."""
        name = {"volume_backend_name": self.id}
        return {**self._cfg, **name} if self._library.output_all_backend_info else name

    def _described(self, how: str) -> Json:
        volumes = [getattr(volume, how) for volume in self.volumes]
        for volume in volumes:
            volume["backend"] = {"volume_backend_name": self.id}  # the whole configuration appears only once
        return {"class": "Backend", "backend": self.config, "volumes": volumes}

    @property
    def json(self) -> Json:
        return self._described("json")

    @property
    def dump(self) -> Json:
        """`json`, after loading everything."""
        return self._described("dump")

    @property
    def jsons(self) -> str:
        return json_text.dumps(self.json)

    @property
    def dumps(self) -> str:
        return json_text.dumps(self.dump)

    @classmethod
    def load(cls, json_src: JsonSource, save: bool = False) -> Backend | MaybeName:
        """Load a back end and its volumes from the output of `json` or `dump`."""
        return default.library().load_backend(json_src, save=save)

    @classmethod
    def load_backend(cls, backend_data: Json) -> Backend | MaybeName:
        """A back end by its name or its whole configuration."""
        return default.library().backend_of(backend_data)

    @staticmethod
    def list_supported_drivers(output_version: int = 1) -> dict[str, DriverDescription]:
        """See `drivers.list_supported_drivers`."""
        return drivers.list_supported_drivers(output_version)

    # --- notifications of handles

    def _volume_created(self, volume: Volume) -> None:
        if self._volumes is not None:
            self._volumes.append(volume)

    def _volume_deleted(self, volume: Volume) -> None:
        if self._volumes is not None:
            self._volumes = [known for known in self._volumes if known.id != volume.id]


def _filled_in(value: Any, known: Mapping[str, Any]) -> Any:
    """Replace `$name` and `${name}` of given options; other dollar signs are literal."""
    if not isinstance(value, str):
        return value

    def given(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return str(known[name]) if name in known else match[0]

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", given, value)


def _with_pools(raw: Mapping[str, Any], name: str) -> Stats:
    stats = {key: value for key, value in raw.items() if key not in _OURS}
    if not stats.get("pools"):
        stats["pools"] = [
            {**{key: value for key, value in stats.items() if key not in _NOT_OF_A_POOL | {"pools"}}, "pool_name": name}
        ]
    return cast("Stats", stats)  # as the driver reports them
