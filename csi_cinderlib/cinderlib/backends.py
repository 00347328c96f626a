"""Back ends, with the API of cinderlib."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from csi_cinderlib.cinderlib import default, drivers, exception, references
from csi_cinderlib.cinderlib.attributes import DriverFields, MaybeName, SetUpAttributes
from csi_cinderlib.cinderlib.class_attributes import BackendClass, GlobalSetup, IsSetUp, OfSetUp
from csi_cinderlib.cinderlib.forks import abandon
from csi_cinderlib.cinderlib.keywords import NewVolume
from csi_cinderlib.cinderlib.results import DriverDescription, Json, JsonSource, Stats
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle.local import LocalBackend as Core

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

DEFAULT_DRIVER = "cinder.volume.drivers.lvm.LVMVolumeDriver"
"""Cinder's own default of `volume_driver`."""
_NOT_OF_A_POOL = frozenset(
    "driver_version shared_targets sparse_copy_volume storage_protocol vendor_name volume_backend_name".split()
)
_OURS = {"properties", "vendor_prefix"}


def _replace_persistence(library: Library, persistence: Any) -> None:
    """`Backend.persistence = persistence`: the object of the set-up, or anything that `storage` may be."""
    if persistence is not library.persistence:
        library.set_persistence({"storage": persistence})


class Backend(SetUpAttributes, DriverFields, metaclass=BackendClass):
    """A storage back end: a Cinder driver that is set up.

    The same name with the same options returns the same object. A derived class may extend it: it is created in `__init__`.

    Args:
        volume_backend_name: the name; stored volumes refer to it.
        driver_cfg: `volume_driver`, and the driver's options by their Cinder names. `$name` in a value refers to another
            option given here or to `setup`.

    Raises:
        ValueError: a back end of that name exists with other options.
        ConfigurationError: an option or a library is missing or wrong; names it and the remedy.
        BackendUnavailable: the storage does not respond.
    """

    if not TYPE_CHECKING:  # declared in `SetUpAttributes`
        backends = OfSetUp("backends", MappingProxyType({}))
        """The back ends of the set-up, by name."""
        persistence = OfSetUp("persistence", change=_replace_persistence)
        """Its metadata store."""
        fail_on_missing_backend = OfSetUp("fail_on_missing_backend")
        output_all_backend_info = OfSetUp("output_all_backend_info")
        project_id = OfSetUp("project_id")
        user_id = OfSetUp("user_id")
        non_uuid_ids = OfSetUp("non_uuid_ids")
        global_initialization = IsSetUp()
        """Whether there is a set-up. Set it to False to call `setup` again."""
        im_root = OfSetUp("im_root")
        """Whether this process runs as root and needs no `root_helper`."""

    _library: Library
    _cfg: Mapping[str, Any]
    _called_with: Mapping[str, Any]
    """The options given by the program, before a derived class changed them."""
    _settings: BackendSettings
    _core: Core | None = None
    """None in a forked child before its first use."""
    _volumes: list[Volume] | None = None
    _stats: Stats | None = None

    def __init__(self, volume_backend_name: str, **driver_cfg: object) -> None:
        self._cfg = dict(driver_cfg)
        self._volumes = self._stats = None
        known = {**self._library.cinder_options, **driver_cfg}
        options = references.resolved(driver_cfg, known)
        driver = str(options.pop("volume_driver", DEFAULT_DRIVER))
        self._settings = BackendSettings(
            name=volume_backend_name, driver=driver, options=options, directory=str(Path.cwd())
        )
        self._start()

    @classmethod
    def _of(cls, library: Library, name: str, cfg: Mapping[str, Any]) -> Self:
        """Create and start a back end. The library ensures that the name is unique."""
        backend = object.__new__(cls)
        backend._library, backend._called_with = library, dict(cfg)
        try:
            cls.__init__(backend, name, **cfg)
        except BaseException:  # of a derived class, perhaps
            backend._stop()
            raise
        return backend

    def _is_given(self, cfg: Mapping[str, Any]) -> bool:
        """Whether these are the options of this back end."""
        return cfg in (self._called_with, self._cfg)

    def _start(self) -> Core:
        library = self._library
        core = Core(
            self._settings,
            store=library.store,
            runtime=library.runtime,
            is_alive=lambda owner: library.presence.alive(owner),  # noqa: PLW0108  # the store may change
            ensure_exports=library.ensure_exports,
        )
        core.start()
        core.wait_for_exports()
        self._core = core
        return core

    @property
    def core(self) -> Core:
        """The implementation (`csi_cinderlib.lifecycle.local.LocalBackend`). A forked child sets up its own driver."""
        return self._core or self._restart()

    def _restart(self) -> Core:
        with self._library._setting_up(self.id):
            return self._core or self._start()

    def _stop(self) -> None:
        if self._core is not None:
            self._core.stop()

    def _leave_driver(self) -> None:
        """Leave the driver, with its sessions, to the parent of this forked child."""
        inherited, self._core = self._core, None
        if inherited is not None:
            abandon(inherited)

    global_setup = GlobalSetup()

    @classmethod
    def set_persistence(cls, persistence_config: Mapping[str, object] | None) -> None:
        """Change the metadata store of the process-wide set-up; see `Library.set_persistence`."""
        default.library().set_persistence(persistence_config)

    # --- properties

    @property
    def id(self) -> str:
        return self._settings.name

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
        return {**self._cfg, **name} if self.output_all_backend_info else name

    def _described(self, how: str) -> Json:
        if how == "dump":
            self._library.handles.load_related(self.volumes)
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
        """Load a back end and its volumes from the output of `json` or `dump`, as text or parsed."""
        return default.library().load_backend(json_src, save=save, cls=cls)

    @classmethod
    def load_backend(cls, backend_data: Json) -> Backend | MaybeName:
        """A back end by its name or its whole configuration."""
        return default.library().backend_of(backend_data, cls)

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


def _with_pools(raw: Mapping[str, Any], name: str) -> Stats:
    stats = {key: value for key, value in raw.items() if key not in _OURS}
    if not stats.get("pools"):
        stats["pools"] = [
            {**{key: value for key, value in stats.items() if key not in _NOT_OF_A_POOL | {"pools"}}, "pool_name": name}
        ]
    return cast("Stats", stats)  # as the driver reports them
