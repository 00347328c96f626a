"""Stand-ins for modules that Cinder imports at start but drivers do not use without Cinder's services.

They save about 1.3 s of processor time and 35 MB. `runtime` installs them in `sys.modules`; this module does not. Kinds:

* REPLACED: permanent; the part of Cinder that communicates with its other services, which do not exist here.
* BORROWED: only while Cinder's core is imported, which needs few names of it; later imports load the real module.
* LAZY: loads the real module on first use.

`cinder.db.api`, which drivers use, is built from a `Database`.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn

from csi_cinderlib.cinder.database import Database
from csi_cinderlib.concurrency import LateLock

_swapping = LateLock()


class Kind(enum.Enum):
    REPLACED = "replaced"
    BORROWED = "borrowed"
    LAZY = "lazy"


@dataclass(frozen=True, slots=True)
class StandIn:
    """A row of the table.

    Attributes:
        target: the replaced module.
        reason: why the stand-in is useful.
        attributes: returns the names that importers use; for LAZY, names that do not load the real module.
    """

    target: str
    kind: Kind
    reason: str
    attributes: Callable[[], Mapping[str, Any]] | None = None

    def module(self) -> types.ModuleType:
        """A new module object to install as `target`."""
        if self.kind is Kind.LAZY:
            return LazyModule(self.target, self.attributes() if self.attributes else {})
        module = _Partial(self.target)
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(self.target, None, is_package=True)
        vars(module).update(self.attributes() if self.attributes else {})
        return module


class _Partial(types.ModuleType):
    """A module whose errors for missing attributes contain its name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__}.{name} belongs to Cinder services that do not run here")


class LazyModule(types.ModuleType):
    """Imports the real module on the first access to an attribute."""

    def __init__(self, name: str, attributes: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        # The import system reads __path__ to import a submodule.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> types.ModuleType:
        """Python's import locks serialise the import; another lock could deadlock with them."""
        target = self.__name__
        with _swapping:
            if sys.modules.get(target) is self:
                del sys.modules[target]
        try:
            real = importlib.import_module(target)
        except BaseException:
            sys.modules.setdefault(target, self)
            raise
        parent, _, leaf = target.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], leaf, real)
        return real


class _Nothing:
    """Accepts any call and does nothing: notifiers, quotas."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: None


def _service() -> Mapping[str, Any]:
    return {"Service": type("Service", (), {"service_id": None})}


def _manager() -> Mapping[str, Any]:
    from oslo_config import cfg

    backend = _manager_backend_options()
    manager = [
        cfg.StrOpt("zoning_mode", help="FC Zoning mode configured, only 'fabric' is supported now."),
    ]
    cfg.CONF.register_opts(manager)
    cfg.CONF.register_opts(backend, group="backend_defaults")
    return {
        "volume_manager_opts": manager,
        "volume_backend_opts": backend,
        "VolumeManager": type("VolumeManager", (), {"FAILBACK_SENTINEL": "default"}),
        "MAPPING": RENAMED_DRIVERS,
    }


def _manager_backend_options() -> list[Any]:
    """Equal to Cinder's definitions: drivers read these options, and oslo.config refuses a different definition."""
    from oslo_config import cfg

    return [
        cfg.StrOpt(
            "volume_driver",
            default="cinder.volume.drivers.lvm.LVMVolumeDriver",
            help="Driver to use for volume creation",
        ),
        cfg.StrOpt(
            "extra_capabilities",
            default="{}",
            help="User defined capabilities, a JSON formatted string specifying key/value pairs. The key/value pairs can "
            "be used by the CapabilitiesFilter to select between backends when requests specify volume types. For "
            "example, specifying a service level or the geographical location of a backend, then creating a volume type "
            "to allow the user to select by these different properties.",
        ),
        cfg.BoolOpt(
            "suppress_requests_ssl_warnings",
            default=False,
            help="Suppress requests library SSL certificate warnings.",
        ),
        cfg.IntOpt(
            "backend_native_threads_pool_size",
            default=20,
            min=20,
            help="Size of the native threads pool for the backend.  Increase for backends that heavily rely on this, "
            "like the RBD driver.",
        ),
    ]


_DELL = "cinder.volume.drivers.dell_emc."
_FUJITSU = "cinder.volume.drivers.fujitsu."
_NIMBLE = "cinder.volume.drivers."
RENAMED_DRIVERS: Mapping[str, str] = types.MappingProxyType(
    {
        f"{_DELL}vmax.iscsi.VMAXISCSIDriver": f"{_DELL}powermax.iscsi.PowerMaxISCSIDriver",
        f"{_DELL}vmax.fc.VMAXFCDriver": f"{_DELL}powermax.fc.PowerMaxFCDriver",
        f"{_DELL}vxflexos.driver.VxFlexOSDriver": f"{_DELL}powerflex.driver.PowerFlexDriver",
        f"{_FUJITSU}eternus_dx_fc.FJDXFCDriver": f"{_FUJITSU}eternus_dx.eternus_dx_fc.FJDXFCDriver",
        f"{_FUJITSU}eternus_dx_iscsi.FJDXISCSIDriver": f"{_FUJITSU}eternus_dx.eternus_dx_iscsi.FJDXISCSIDriver",
        "cinder.volume.drivers.zadara.ZadaraVPSAISCSIDriver": "cinder.volume.drivers.zadara.zadara.ZadaraVPSAISCSIDriver",
        f"{_NIMBLE}nimble.NimbleISCSIDriver": f"{_NIMBLE}hpe.nimble.NimbleISCSIDriver",
        f"{_NIMBLE}nimble.NimbleFCDriver": f"{_NIMBLE}hpe.nimble.NimbleFCDriver",
    }
)
"""Cinder's own `MAPPING` for modules that import it (a test compares it with Cinder's source). `config.former` has all renamed drivers."""


def _backup() -> Mapping[str, Any]:
    from oslo_config import cfg

    options = [cfg.BoolOpt("backup_use_same_host", default=False, help="Backup services use same backend.")]
    cfg.CONF.register_opts(options)
    return {"backup_opts": options, "API": _Nothing}


def _rpc() -> Mapping[str, Any]:
    return {
        "get_notifier": lambda *_args, **_kwargs: _Nothing(),
        "if_notifications_enabled": lambda function: function,
        "assert_min_rpc_version": lambda *_args, **_kwargs: lambda function: function,
        "RPCAPI": type("RPCAPI", (), {}),
    }


def _quota() -> Mapping[str, Any]:
    return {"QUOTAS": _Nothing(), "GROUP_QUOTAS": _Nothing(), "CGQUOTAS": _Nothing()}


def _policy() -> Mapping[str, Any]:
    """Allows everything: the only caller is this process, as administrator."""
    return {
        "check_is_admin": lambda *_args, **_kwargs: True,
        "authorize": lambda *_args, **_kwargs: True,
        "init": lambda *_args, **_kwargs: None,
    }


def _webob_util() -> Mapping[str, Any]:
    return {
        "status_reasons": {status.value: status.phrase for status in HTTPStatus},
        "status_generic_reasons": {
            1: "Continue",
            2: "Success",
            3: "Multiple Choices",
            4: "Unknown Client Error",
            5: "Unknown Server Error",
        },
    }


def _messaging() -> Mapping[str, Any]:
    return {"NoOpSerializer": type("NoOpSerializer", (), {}), "get_local_context": lambda _context: None}


def _no_auth_plugin() -> Mapping[str, Any]:
    return {"BaseAuthPlugin": type("BaseAuthPlugin", (), {})}


def _glance() -> Mapping[str, Any]:
    """image_utils uses the class in annotations."""
    return {"GlanceImageService": type("GlanceImageService", (), {})}


def _identity(cls: type) -> type:
    return cls


def database_module(database: Database) -> types.ModuleType:
    """`cinder.db.api` with the methods of a `Database` as functions. Registers the same options as Cinder's module."""
    from oslo_config import cfg

    module = _DatabaseModule(database)
    for name in dir(Database):
        if not name.startswith("_"):
            setattr(module, name, getattr(database, name))
    options = [
        cfg.BoolOpt("enable_new_services", default=True, help="Services to be added to the available pool on create"),
        cfg.StrOpt(
            "volume_name_template", default="volume-%s", help="Template string to be used to generate volume names"
        ),
        cfg.StrOpt(
            "snapshot_name_template",
            default="snapshot-%s",
            help="Template string to be used to generate snapshot names",
        ),
    ]
    backup = [
        cfg.StrOpt(
            "backup_name_template", default="backup-%s", help="Template string to be used to generate backup names"
        )
    ]
    cfg.CONF.register_opts(options)
    cfg.CONF.register_opts(backup)
    vars(module).update(CONF=cfg.CONF, db_opts=options, backup_opts=backup)
    return module


class _DatabaseModule(types.ModuleType):
    """Refuses unknown functions when they are called, not when they are looked up: some drivers only look them up."""

    def __init__(self, database: Database) -> None:
        super().__init__("cinder.db.api", __doc__)
        self._database = database

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: self._database.refuse(name)


R, B, L = Kind.REPLACED, Kind.BORROWED, Kind.LAZY

TABLE: tuple[StandIn, ...] = (
    StandIn("cinder.service", R, "oslo.service and messaging; objects.cleanable reads Service.service_id", _service),
    StandIn("cinder.volume.manager", R, "taskflow, networkx; drivers read its options and FAILBACK_SENTINEL", _manager),
    StandIn("cinder.backup.api", R, "volume.driver imports one option of it", _backup),
    StandIn("cinder.volume.rpcapi", R, "messaging; only the manager calls it", lambda: {"VolumeAPI": _Nothing}),
    StandIn("cinder.rpc", R, "oslo.messaging; only for notifications, which are not sent", _rpc),
    StandIn("cinder.quota", R, "quotas are not enforced here", _quota),
    StandIn("cinder.policy", R, "oslo.policy; there is only one caller", _policy),
    StandIn(
        "oslo_db.sqlalchemy.enginefacade",
        B,
        "SQLAlchemy's ORM, for one class decorator",
        lambda: {"transaction_context_provider": _identity},
    ),
    StandIn("oslo_messaging", B, "a message bus; one base class of a serializer in oslo.versionedobjects", _messaging),
    StandIn("psutil", L, "oslo_utils.netutils asks it for addresses"),
    StandIn("oslo_middleware", B, "WSGI; common.config sets CORS defaults", lambda: {"cors": _Nothing()}),
    StandIn("webob", B, "WSGI; one base class of an exception", dict),
    StandIn("webob.exc", B, "see webob", lambda: {"WSGIHTTPException": type("WSGIHTTPException", (Exception,), {})}),
    StandIn("webob.util", B, "see webob", _webob_util),
    StandIn("keystoneauth1.plugin", B, "requests; one base class in cinder.context", _no_auth_plugin),
    StandIn("keystoneauth1.access", B, "one name in cinder.context", lambda: {"service_catalog": _Nothing()}),
    StandIn("keystoneauth1.loading", L, "plugins of Keystone; only for the image service"),
    StandIn("castellan.common.credentials.keystone_password", L, "only for encrypted images"),
    StandIn("castellan.common.exception", L, "only for encrypted images"),
    StandIn("castellan.key_manager", L, "only for encrypted images"),
    StandIn("cursive.exception", L, "only for signed images"),
    StandIn("cursive.signature_utils", L, "only for signed images"),
    StandIn("cinder.image.glance", L, "glanceclient; only for images", _glance),
    StandIn("cinder.compute", L, "novaclient and keystonemiddleware; only remotefs, for libvirt-assisted snapshots"),
    StandIn("os_brick.initiator.connector", L, "imports every connector, including VMware's; drivers seldom attach"),
    StandIn("os_brick.encryptors", L, "only for encrypted images"),
)
"""tests/component/cinder/test_runtime.py tests each row; valid for Cinder 29."""


@contextlib.contextmanager
def collected_late() -> Any:
    """Disable garbage collection during the import of thousands of modules, which saves a fifth of the time."""
    import gc

    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
