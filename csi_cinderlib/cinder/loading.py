"""From a class path and options to a driver that is set up, with every failure named in our users' words."""

from __future__ import annotations

import dis
import logging
import sys
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.backend.stats import DriverTraits
from csi_cinderlib.cinder import conf, faults, option_check, reached, shares
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.work import Work, routed, working
from csi_cinderlib.config import former
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError

_log = logging.getLogger(__name__)
_UNSUPPORTED_OPTION = "enable_unsupported_driver"
RBD_KEYRING = "rbd_keyring_conf"
MAYBE_EMPTY = ("validate_connector", "create_export", "remove_export")
"""Methods that are empty in many drivers, which then need not be asked."""
RBD_KEYRING_HELP = "Path of Ceph's keyring file; its content goes to the nodes with each connection."
_LATE: Mapping[str, tuple[str, ...]] = {
    "ibm.ibm_storage.": ("cinder.volume.drivers.ibm.ibm_storage.ds8k_proxy.ds8k_opts",),
    "netapp.": tuple(f"cinder.volume.drivers.netapp.options.netapp_{name}_opts" for name in ("support", "migration")),
    "open_e.": (
        *(f"cinder.volume.drivers.open_e.options.jdss_{name}_opts" for name in ("connection", "iscsi", "volume")),
        "cinder.volume.drivers.san.san.san_opts",
    ),
    "spdk.": ("cinder.volume.targets.spdknvmf.spdk_opts",),
}
"""Options that a driver neither names nor registers before it talks to its storage, by the start of its module."""


def driver_class(settings: BackendSettings) -> Any:
    """The driver's class.

    Raises:
        ConfigurationError: no such module or class, or a library is missing that its module cannot do without.
    """
    from oslo_utils import importutils

    moved = former.driver(settings.driver)
    path = moved.name if moved and moved.name else settings.driver
    key = f"backends.{settings.name}.driver"
    if "." not in path:
        raise ConfigurationError(key, former.why_no_driver(path))
    try:
        # What a module starts while it is imported serves all back ends of its driver.
        with routed(None):
            return importutils.import_class(path)
    except Exception as error:
        module = path.rpartition(".")[0]
        if isinstance(error, ImportError) and (
            error.name in (None, path, module) or module.startswith(f"{error.name}.")
        ):
            raise ConfigurationError(key, former.why_no_driver(path)) from error
        raise faults.translate_setup(settings.name, path, error) from error


def construct(settings: BackendSettings, runtime: Runtime, section: str, *, is_empty: bool) -> Any:
    """The driver object, its options checked; nothing was sent to the back end yet.

    Args:
        is_empty: whether we know of no volume on it: some drivers change defaults then.
    """
    from cinder.volume import configuration, driver
    from oslo_config import cfg

    cls = driver_class(settings)
    _refuse_shared_name(settings, cls, section)
    manager = sys.modules["cinder.volume.manager"]
    options = configuration.Configuration(driver.volume_opts, config_group=section)
    options.append_config_values(manager.volume_backend_opts)
    if cls.__module__ == "cinder.volume.drivers.rbd":
        # Cinder took the option away (OSSN-0085), for its users see connections; its driver still reads it when somebody else
        # defines it, and here only nodes get to see connections.
        options.append_config_values([cfg.StrOpt(RBD_KEYRING, default="", help=RBD_KEYRING_HELP)])
    own = own_options(cls)
    try:
        made = cls(
            configuration=options,
            host=f"{runtime.host}@{settings.name}",
            cluster_name=None,
            is_vol_db_empty=is_empty,
            active_backend_id=None,
            db=sys.modules["cinder.db.api"],  # the base class ignores it; Hitachi and its derivatives do not
        )
    except Exception as error:
        unset = conf.without_value(section, own)
        ours = faults.translate_setup(settings.name, settings.driver, error, unset=unset)
        own_problem = ours if isinstance(ours, ConfigurationError) and not isinstance(error, ValueError) else None
        option_check.check_early(settings, section, own, own_problem)
        raise ours from error
    option_check.check(settings, section, [*own, *own_options(type(made))])
    _gate(settings, type(made), options)  # NetApp's class makes an object of another one
    if clones_at_source_size(made):
        shares.clone_by_copy(made)
    return made


def _refuse_shared_name(settings: BackendSettings, cls: Any, section: str) -> None:
    """NetApp's drivers find their options by the host's name (`get_backend_configuration`): they would log in to another's array."""
    if section != settings.name and cls.__module__.startswith("cinder.volume.drivers.netapp."):
        raise ConfigurationError(
            f"backends.{settings.name}",
            "NetApp's drivers need a name that no other back end of this process has, whether in upper or lower case",
        )


def own_options(cls: Any) -> list[Any]:
    """What the class says about its options; drivers that register late say it here only."""
    from oslo_utils import importutils

    place = f"{cls.__module__.removeprefix('cinder.volume.drivers.')}."
    late = [path for start, paths in _LATE.items() if place.startswith(start) for path in paths]
    named = [option for path in late for option in importutils.import_class(path)]
    try:
        return [*named, *(cls.get_driver_options() or ())]
    except Exception:  # a few drivers need an instance for it; then what they registered has to do
        return named


def _gate(settings: BackendSettings, cls: Any, options: Any) -> None:
    if cls.SUPPORTED or options.safe_get(_UNSUPPORTED_OPTION):
        return
    raise ConfigurationError(
        f"backends.{settings.name}.driver",
        f"Cinder no longer supports {cls.__name__}; set {_UNSUPPORTED_OPTION}: true to use it all the same",
    )


def set_up(settings: BackendSettings, driver: Any, context: Any, work: Work) -> list[str]:
    """What Cinder's volume manager does before the first call.

    Returns:
        the errors that the driver logged while it reported for the first time.

    Raises:
        ConfigurationError: an option or a library is missing.
        BackendUnavailable: the back end does not answer, or says no. Worth another try.
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
    """Whether the driver has its own version of a method that Cinder's base classes only refuse or leave empty."""
    from cinder import interface  # noqa: F401  # makes sure that the base classes are loaded
    from cinder.volume import driver as base

    theirs = getattr(type(driver), method, None)
    bases = (getattr(cls, method, None) for cls in vars(base).values() if isinstance(cls, type))
    return theirs is not None and all(theirs is not one for one in bases)


def exports_at_start(driver: Any) -> bool:
    """Whether its `ensure_export` does anything: in most drivers it is empty."""
    return overrides(driver, "ensure_export") and not _is_empty(type(driver).ensure_export)


def _is_empty(method: Any) -> bool:
    """Whether all that a method does is to answer a constant, None for example."""
    code = getattr(method, "__code__", None)
    steps = {step.opname for step in dis.get_instructions(code)} if code else {"unknown"}
    return steps <= {"RESUME", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


def traits(driver: Any, host: str) -> DriverTraits:
    """What the driver is, by its class."""
    return DriverTraits(
        host=host,
        revert=overrides(driver, "revert_to_snapshot"),
        group_snapshots=overrides(driver, "create_group_snapshot"),
        takes_snapshots=_takes_snapshots(driver),
        needs_nova=_needs_nova(driver),
        refuses_growth_in_use=_refuses_growth_in_use(driver),
        independent_snapshots=_snapshots_are_independent(driver),
        overwrites_files=shares.has_shares(driver),
        deletes_by_rm=shares.deletes_by_rm(driver),
        exports_at_start=exports_at_start(driver),
        empty_methods=empty_methods(driver),
    )


def empty_methods(driver: Any) -> frozenset[str]:
    """Those of `MAYBE_EMPTY` that do nothing in this driver."""
    given = vars(driver)
    return frozenset(
        method for method in MAYBE_EMPTY if method not in given and _is_empty(getattr(type(driver), method, None))
    )


def _takes_snapshots(driver: Any) -> bool:
    """Not so where each snapshot puts a qcow2 file over the volume's own (`remotefs`): no kernel can attach that."""
    return _definer(driver, "create_snapshot") not in {
        "NfsDriver",
        "QuobyteDriver",
        "RemoteFSSnapDriver",
        "RemoteFSSnapDriverDistributed",
    }


def _snapshots_are_independent(driver: Any) -> bool:
    """Whether its snapshots outlive their volume. Cinder's manager keeps such volumes, so that only our own drivers can say so."""
    return bool(getattr(driver, "SNAPSHOTS_ARE_INDEPENDENT", False))


def clones_at_source_size(driver: Any) -> bool:
    """Cinder's NFS driver and its kin give a clone the size of its source, whatever was asked for."""
    return _definer(driver, "create_cloned_volume") in {"NfsDriver", "RemoteFSSnapDriverDistributed"}


def _refuses_growth_in_use(driver: Any) -> bool:
    """Cinder's own NFS driver refuses it (its bug 1870367) without saying so in its report."""
    return _definer(driver, "extend_volume") == "NfsDriver"


def _definer(driver: Any, method: str) -> str:
    """The class whose method this driver uses: others build on these classes and do better."""
    return next((cls.__name__ for cls in type(driver).__mro__ if method in vars(cls)), "")


def _needs_nova(driver: Any) -> bool:
    """The drivers on `remotefs` with snapshots in qcow2 files take one of an attached volume through Nova's libvirt."""
    return any(cls.__name__ == "RemoteFSSnapDriverDistributed" for cls in type(driver).__mro__)


def calls_at_a_time(driver: object) -> int:
    """What a driver stands where the settings set no limit; 0 is any number.

    `remotefs` sums up its share by `du`, which fails when a file vanishes under it: one call at a time, and they are quick.
    """
    return 1 if any(cls.__name__ == "RemoteFSDriver" for cls in type(driver).__mro__) else 0
