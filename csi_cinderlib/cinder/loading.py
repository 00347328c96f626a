"""Load and set up a driver from its class path and options, with clear errors for users."""

from __future__ import annotations

import dis
import sys
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.backend.stats import DriverTraits
from csi_cinderlib.cinder import conf, faults, green, in_place, option_check, reached, share_copies, shares
from csi_cinderlib.cinder.attributes import optional
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.work import Work, routed, working
from csi_cinderlib.config import former
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import redact

_UNSUPPORTED_OPTION = "enable_unsupported_driver"
RBD_KEYRING = "rbd_keyring_conf"
MAYBE_EMPTY = ("validate_connector", "create_export", "remove_export")
"""Methods that are empty in many drivers and then need not be called."""
RBD_KEYRING_HELP = "Path of Ceph's keyring file; its content goes to the nodes with each connection."
_CHECK_PARENTS = frozenset(
    ("HuaweiBaseDriver", "MacroSANBaseDriver", "PowerFlexBaseDriver", "SCCommonDriver", "XtremIOVolumeDriver")
)
"""Drivers without a list of snapshots whose `manage_existing_snapshot` refuses a snapshot of another volume. Cinder 29 was examined."""
_LATE: Mapping[str, tuple[str, ...]] = {
    "ibm.ibm_storage.": ("cinder.volume.drivers.ibm.ibm_storage.ds8k_proxy.ds8k_opts",),
    "netapp.": tuple(f"cinder.volume.drivers.netapp.options.netapp_{name}_opts" for name in ("support", "migration")),
    "open_e.": (
        *(f"cinder.volume.drivers.open_e.options.jdss_{name}_opts" for name in ("connection", "iscsi", "volume")),
        "cinder.volume.drivers.san.san.san_opts",
    ),
    "spdk.": ("cinder.volume.targets.spdknvmf.spdk_opts",),
}
"""Options that a driver neither lists nor registers before it connects to its storage, by prefix of its module."""


def driver_class(settings: BackendSettings) -> Any:
    """The driver's class.

    Raises:
        ConfigurationError: the module or class does not exist, or a library that the module requires is missing.
    """
    from oslo_utils import importutils

    moved = former.driver(settings.driver)
    path = moved.name if moved and moved.name else settings.driver
    key = f"backends.{settings.name}.driver"
    if "." not in path:
        raise ConfigurationError(key, former.why_no_driver(path))
    try:
        # Threads started by the import of a module serve all back ends of the driver.
        with routed(None), green.imports():
            return importutils.import_class(path)
    except Exception as error:
        module = path.rpartition(".")[0]
        if isinstance(error, ImportError) and (
            error.name in (None, path, module) or module.startswith(f"{error.name}.")
        ):
            raise ConfigurationError(key, former.why_no_driver(path)) from error
        raise faults.translate_setup(settings.name, path, error) from error


def construct(settings: BackendSettings, runtime: Runtime, section: str, *, is_empty: bool) -> Any:
    """Create the driver object and check its options, without access to the back end.

    Args:
        is_empty: whether no volumes are recorded on the back end: some drivers then change their defaults.
    """
    from cinder.volume import configuration, driver
    from oslo_config import cfg

    cls = driver_class(settings)
    _refuse_shared_name(settings, cls, section)
    manager = sys.modules["cinder.volume.manager"]
    options = configuration.Configuration(driver.volume_opts, config_group=section)
    options.append_config_values(manager.volume_backend_opts)
    if cls.__module__ == "cinder.volume.drivers.rbd":
        # Cinder removed the option (OSSN-0085), because its users can see connections. The driver still reads it if it is defined,
        # and here only nodes see connections.
        options.append_config_values([cfg.StrOpt(RBD_KEYRING, default="", help=RBD_KEYRING_HELP)])
    own = own_options(cls)
    try:
        instance = cls(
            configuration=options,
            host=f"{runtime.host}@{settings.name}",
            cluster_name=None,
            is_vol_db_empty=is_empty,
            active_backend_id=None,
            db=sys.modules["cinder.db.api"],  # the base class ignores it; Hitachi and its derivatives do not
        )
    except Exception as error:
        unset = conf.without_value(section, own)
        with redact.hiding(conf.secrets_of(section)):  # the driver's own secret options, whatever their names
            translated = faults.translate_setup(settings.name, settings.driver, error, unset=unset)
        own_problem = (
            translated if isinstance(translated, ConfigurationError) and not isinstance(error, ValueError) else None
        )
        option_check.check_early(settings, section, own, own_problem)
        raise translated from error
    option_check.check(settings, section, [*own, *own_options(type(instance))])
    _gate(settings, type(instance), options)  # NetApp's class creates an object of another class
    in_place.never_copy(type(instance))
    if clones_at_source_size(instance):
        shares.clone_by_copy(instance)
    if _definer(instance, "create_snapshot") == "NfsDriver":
        share_copies.copy_snapshots(instance)
    if _definer(instance, "extend_volume") in {"NfsDriver", "PowerStoreNFSDriver"}:
        share_copies.grow_in_use(instance)
    return instance


def _refuse_shared_name(settings: BackendSettings, cls: Any, section: str) -> None:
    """NetApp drivers find their options by the host name (`get_backend_configuration`) and could log in to another back end's array."""
    if section != settings.name and cls.__module__.startswith("cinder.volume.drivers.netapp."):
        raise ConfigurationError(
            f"backends.{settings.name}",
            "NetApp drivers require a back end name that is unique in this process, ignoring case",
        )


def own_options(cls: Any) -> list[Any]:
    """The options listed by the class. Drivers that register options late only list them here."""
    from oslo_utils import importutils

    place = f"{cls.__module__.removeprefix('cinder.volume.drivers.')}."
    late = [path for start, paths in _LATE.items() if place.startswith(start) for path in paths]
    named = [option for path in late for option in importutils.import_class(path)]
    try:
        return [*named, *(cls.get_driver_options() or ())]
    except Exception:  # a few drivers need an instance; then only registered options are known
        return named


def _gate(settings: BackendSettings, cls: Any, options: Any) -> None:
    if cls.SUPPORTED or options.safe_get(_UNSUPPORTED_OPTION):
        return
    raise ConfigurationError(
        f"backends.{settings.name}.driver",
        f"Cinder no longer supports {cls.__name__}; set {_UNSUPPORTED_OPTION}: true to use it anyway",
    )


def set_up(settings: BackendSettings, driver: Any, context: Any, work: Work) -> list[str]:
    """The set-up steps of Cinder's volume manager.

    Returns:
        the errors that the driver logged during its first report.

    Raises:
        ConfigurationError: an option or a library is missing.
        BackendUnavailable: the back end does not respond, or refuses. A retry may succeed.
    """
    try:
        with working(work):
            driver.do_setup(context)
            driver.check_for_setup_error()
            with reached.heard() as errors:
                driver.init_capabilities()
            driver.set_throttle()
            driver.set_initialized()
            return errors
    except Exception as error:
        unset = conf.without_value(driver.configuration.config_group, own_options(type(driver)))
        raise faults.translate_setup(settings.name, settings.driver, error, unset=unset) from error


def overrides(driver: Any, method: str) -> bool:
    """Whether the driver overrides a method that is empty or unsupported in Cinder's base classes."""
    return class_overrides(type(driver), method)


def class_overrides(kind: type, method: str) -> bool:
    """As `overrides`, for a driver's class."""
    from cinder import interface  # noqa: F401  # makes sure that the base classes are loaded
    from cinder.volume import driver as base

    theirs = getattr(kind, method, None)
    bases = (getattr(cls, method, None) for cls in vars(base).values() if isinstance(cls, type))
    return theirs is not None and all(theirs is not base for base in bases)


def exports_at_start(driver: Any) -> bool:
    """Whether its `ensure_export` is not empty, as it is in most drivers."""
    return overrides(driver, "ensure_export") and not _is_empty(type(driver).ensure_export)


def _is_empty(method: Any) -> bool:
    """Whether a method only returns a constant, such as None."""
    code = getattr(method, "__code__", None)
    steps = {step.opname for step in dis.get_instructions(code)} if code else {"unknown"}
    return steps <= {"RESUME", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


def traits(driver: Any, host: str) -> DriverTraits:
    """The traits of the driver's class."""
    return DriverTraits(
        host=host,
        revert=overrides(driver, "revert_to_snapshot"),
        retypes=in_place.retypes(type(driver)),
        group_snapshots=overrides(driver, "create_group_snapshot"),
        takes_snapshots=_takes_snapshots(driver),
        needs_nova=_needs_nova(driver),
        refuses_growth_in_use=_refuses_growth_in_use(driver),
        independent_snapshots=_snapshots_are_independent(driver),
        overwrites_files=shares.has_shares(driver),
        deletes_by_rm=shares.deletes_by_rm(driver),
        exports_at_start=exports_at_start(driver),
        manages_volumes=overrides(driver, "manage_existing") and not _changes_to_measure(driver),
        manages_snapshots=overrides(driver, "manage_existing_snapshot"),
        finds_by_name=finds_by_name(driver),
        checks_parents=_definer(driver, "manage_existing_snapshot") in _CHECK_PARENTS,
        empty_methods=empty_methods(driver),
    )


def empty_methods(driver: Any) -> frozenset[str]:
    """The methods of `MAYBE_EMPTY` that do nothing in this driver."""
    given = vars(driver)
    return frozenset(
        method for method in MAYBE_EMPTY if method not in given and _is_empty(getattr(type(driver), method, None))
    )


def _takes_snapshots(driver: Any) -> bool:
    """False if each snapshot adds a qcow2 file on top of the volume (`remotefs`), which the kernel cannot attach."""
    return _definer(driver, "create_snapshot") not in {
        "QuobyteDriver",
        "RemoteFSSnapDriver",
        "RemoteFSSnapDriverDistributed",
    }


def _snapshots_are_independent(driver: Any) -> bool:
    """Whether a volume can be deleted before its snapshots. Cinder's manager prevents that, so only csi-cinderlib's drivers declare it."""
    return bool(optional(driver, "SNAPSHOTS_ARE_INDEPENDENT"))


def clones_at_source_size(driver: Any) -> bool:
    """Cinder's NFS driver and its derivatives create a clone with the size of its source, not the requested size."""
    return _definer(driver, "create_cloned_volume") in {"NfsDriver", "RemoteFSSnapDriverDistributed"}


def finds_by_name(driver: Any) -> bool:
    """Whether the driver uses only the names of Cinder's objects, and renames an object that it takes over to that name.

    Others also use ids, locations or names of their own. cinder/volume/drivers/lvm.py and rbd.py of Cinder 29 were examined.
    """
    return _definer(driver, "manage_existing") in {"LVMVolumeDriver", "RBDDriver", "ExistingFiles"}


def _changes_to_measure(driver: Any) -> bool:
    """ToYou's driver extends a volume to whole GiB when it is only asked for its size."""
    return _definer(driver, "manage_existing_get_size") == "Acs5000CommonDriver"


def _refuses_growth_in_use(driver: Any) -> bool:
    """Drivers that store files refuse it, but their reports do not say so."""
    return _definer(driver, "extend_volume") in {"QuobyteDriver", "VmstoreNfsDriver"}


def _definer(driver: Any, method: str) -> str:
    """The class that defines the driver's method: derived classes may not have the limitation."""
    return next((cls.__name__ for cls in type(driver).__mro__ if method in vars(cls)), "")


def _needs_nova(driver: Any) -> bool:
    """`remotefs` drivers with snapshots in qcow2 files use Nova's libvirt for snapshots of attached volumes."""
    return any(cls.__name__ == "RemoteFSSnapDriverDistributed" for cls in type(driver).__mro__)


def calls_at_a_time(driver: object) -> int:
    """The driver's limit of concurrent calls if the settings have none; 0 means no limit.

    `remotefs` measures its share with `du`, which fails if a file disappears: one call at a time is enough, since calls are quick.
    """
    return 1 if any(cls.__name__ == "RemoteFSDriver" for cls in type(driver).__mro__) else 0
