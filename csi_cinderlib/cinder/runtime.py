"""Cinder as a library: with `patches`, the only place that touches the globals of Cinder and its libraries.

Cinder stores its configuration, database functions and locks in module globals, so all `Runtime`s and back ends of a process share
one Cinder. `patches.PATCHES` and `standins.TABLE` list all changes to it. Importing this module has no effects; `Runtime.start`
sets up Cinder, in the order required by its imports.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

from csi_cinderlib.cinder import conf, database, green, naming, standins
from csi_cinderlib.cinder import defaults as default_section
from csi_cinderlib.cinder.patches import PATCHES
from csi_cinderlib.cinder.work import Routes
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.config import option_paths
from csi_cinderlib.config.installation import require_cinder
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import HostError
from csi_cinderlib.model.records import NOTHING

HOST = "csi-cinderlib"


class _Process:
    """The state shared by all Runtimes of a process, created by the first one."""

    def __init__(self) -> None:
        self.guard = LateLock(reentrant=True)
        self.routes = Routes()
        self.database = database.Database(self.routes)
        self.sections: list[conf.Sections] = []
        self.defaults: dict[Path, Mapping[str, object]] = {}
        self.imported = False
        self.started = False

    def begin_child(self) -> None:
        """Forget the back ends and named locks of the parent, in a forked child. Cinder stays imported."""
        self.sections.clear()
        self.defaults.clear()
        self.routes.clear()
        if self.started:
            _forget_named_locks()


_process = _Process()
os.register_at_fork(after_in_child=_process.begin_child)


def _forget_named_locks() -> None:
    """Threads of the parent may hold them. The locks on files belong to the parent."""
    from cinder import coordination
    from oslo_concurrency import lockutils
    from tooz.drivers.file import FileDriver

    inherited = coordination.COORDINATOR
    inherited.coordinator, inherited.started, inherited.agent_id = None, False, str(uuid.uuid4())
    FileDriver._barriers = weakref.WeakValueDictionary()
    for locks, kept in ((lockutils._semaphores, "_semaphores"), (lockutils._fair_locks, "_locks")):
        setattr(locks, kept, weakref.WeakValueDictionary())
        locks._lock = threading.Lock()


def served() -> database.Database:
    """The database stand-in of this process; tests check its refused calls."""
    return _process.database


def load_cinder() -> None:
    """Import Cinder as `Runtime.start` does, without configuring it, for example for its exceptions. Once per process.

    The program may have imported parts of Cinder, or eventlet, before.
    """
    with _process.guard:
        if _process.imported:
            return
        require_cinder()
        with standins.collected_late(), _logging_left_alone():
            PATCHES[0].apply()
            with green.imports():
                _import_cinder(_process.database)
            for patch in PATCHES[1:]:
                patch.apply()
        _process.imported = True


def find_lock_driver() -> None:
    """Let tooz search the entry points of all packages for its driver. Takes 4 MB, which forked processes share."""
    from tooz import coordination

    coordination.get_coordinator("file:///", b"")


@contextlib.contextmanager
def _standing_in() -> Iterator[None]:
    """Install the stand-ins; afterwards remove the borrowed ones to allow the real modules.

    A module that the program has imported before is replaced only if it must not be used.
    """
    rows = [row for row in standins.TABLE if row.kind is standins.Kind.REPLACED or row.target not in sys.modules]
    installed = {row: row.module() for row in rows}
    for row, module in installed.items():
        _install(row.target, module)
    try:
        yield
    finally:
        for row, module in installed.items():
            parent, _, leaf = row.target.rpartition(".")
            if row.kind is standins.Kind.BORROWED:
                if sys.modules.get(row.target) is module:
                    del sys.modules[row.target]
                if getattr(sys.modules.get(parent), leaf, None) is module:
                    delattr(sys.modules[parent], leaf)
            elif parent in sys.modules:
                setattr(sys.modules[parent], leaf, module)


def _install(target: str, module: types.ModuleType) -> None:
    """Put a module in the place of another one, also where Cinder has already imported that or its functions."""
    earlier = sys.modules.get(target)
    sys.modules[target] = module
    parent, _, leaf = target.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], leaf, module)
    if earlier is not None:
        own = [(name, value) for name, value in vars(earlier).items() if getattr(value, "__module__", "") == target]
        pairs = [(value, vars(module)[name]) for name, value in own if name in vars(module)]
        green.rewrite([(earlier, module), *pairs])


def _import_cinder(served: database.Database) -> None:
    importlib.import_module("cinder.db")
    _install("cinder.db.api", standins.database_module(served))
    with _standing_in():
        from cinder import objects

        objects.register_all()
        for name in (
            "cinder.context",
            "cinder.coordination",
            "cinder.common.config",
            "cinder.utils",
            "cinder.volume.configuration",
            "cinder.volume.driver",
            "cinder.volume.volume_utils",
        ):
            importlib.import_module(name)


@contextlib.contextmanager
def _logging_left_alone() -> Iterator[None]:
    """Undo the handler that oslo.log adds to the root logger on import; logging is configured by the application."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        yield
    finally:
        for handler in root.handlers[:]:
            if handler not in before:
                root.removeHandler(handler)


def _free_section(name: str) -> str:
    """The name, with a number if it is taken. oslo.config merges sections whose names differ only in case, and a section hides an
    option of the same name."""
    from oslo_config import cfg

    taken = {section.lower() for sections in _process.sections for section in sections}
    taken |= {"backend_defaults", *cfg.CONF._opts}
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(candidate for candidate in names if candidate.lower() not in taken)


class Runtime:
    """A state directory, its configuration and the sections of its back ends, on the Cinder of this process.

    Args:
        state_dir: for drivers' files and locks. Several processes may share it: the configuration, which contains passwords, is
            only in memory.
        host: the first part of Cinder's `host@backend`. Must not change while volumes exist: drivers find their volumes by it.
        owner: this process's name in records with an operation in progress.
        defaults: options of Cinder's [DEFAULT] section, such as `my_ip`. They apply to all Runtimes of the process.
        lock_dir: for the drivers' named locks; shared by processes that use the same back end. By default below the state
            directory. The first Runtime's directory is used until all Runtimes are closed.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        host: str = HOST,
        owner: str = "",
        defaults: Mapping[str, object] | None = None,
        lock_dir: Path | None = None,
    ) -> None:
        self.state_dir = state_dir
        self.lock_dir = lock_dir or state_dir / "cinder" / "locks"
        self.host = host
        self.owner = owner
        self._defaults = dict(defaults or {})
        self._sections: conf.Sections | None = None
        self._is_patched = green.is_patched()
        green.keep_cinder_from_patching()

    @property
    def routes(self) -> Routes:
        return _process.routes

    def start(self) -> None:
        """Import and set up Cinder (1 to 2 s, once per process), and open this Runtime's configuration. Idempotent.

        Raises:
            ConfigurationError: a default is invalid, or differs from that of another Runtime in this process.
            HostError: the lock directory cannot be used now, for example because its disk is full; start again later.
            RuntimeError: eventlet has patched the process after this Runtime was created.
        """
        with _process.guard:
            if self._sections is not None:
                return
            green.refuse_change(self._is_patched)
            load_cinder()
            wanted = default_section.carried(self._defaults)
            default_section.refuse_conflict(wanted, _process.defaults.values())
            directory = self.state_dir / "cinder"
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / "cinder.conf").unlink(missing_ok=True)  # written with passwords by an earlier version
            self._sections = conf.Sections(self._base(directory, wanted))
            _process.sections.append(self._sections)
            _process.defaults[self._sections.path] = wanted
            try:
                self._load()
                default_section.check(wanted)
            except BaseException:  # otherwise the next attempt would assume that the start is complete
                self.close()
                raise

    def _load(self) -> None:
        if _process.started:
            conf.load(_process.sections)
            if len(_process.sections) == 1:  # no lock is held, so this Runtime may set the directory
                self._start_locks()
            return
        with standins.collected_late(), _logging_left_alone():
            conf.load(_process.sections)
            self._set_up_libraries()
        _process.started = True

    def _set_up_libraries(self) -> None:
        import os_brick
        from oslo_config import cfg

        os_brick.setup(cfg.CONF)
        self._start_locks()

    def _start_locks(self) -> None:
        from cinder import coordination
        from tooz import ToozError

        coordination.COORDINATOR.stop()
        try:
            coordination.COORDINATOR.start()
        except ToozError as error:  # hides the operating system's error behind "error opening file"
            raise HostError(f"cannot use the lock directory {self.lock_dir}: {error.__cause__ or error}") from error

    def _base(self, directory: Path, wanted: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
        locks = self.lock_dir
        locks.mkdir(exist_ok=True, parents=True, mode=0o700)
        return {
            "DEFAULT": {"state_path": str(directory), "host": self.host, "rootwrap_config": "", **wanted},
            "oslo_concurrency": {"lock_path": str(locks)},
            "coordination": {"backend_url": f"file://{locks}"},
        }

    def add_section(self, settings: BackendSettings, overrides: Mapping[str, object] = NOTHING) -> str:
        """Add a section with the back end's options to Cinder's configuration.

        Args:
            overrides: replace the given options.

        Returns:
            the section's name: the back end's name, with a number if that is taken (`_free_section`).

        Raises:
            ConfigurationError: an option is set twice, or a relative path has no base directory.
        """
        assert self._sections is not None, "start() must be called first"
        given = option_paths.completed(settings, naming.by_name(settings))
        values = {"volume_driver": settings.driver, "volume_backend_name": settings.name, **given, **overrides}
        with _process.guard:
            section = _free_section(settings.name)
            self._sections.put(section, values)
            try:
                conf.reload()
            except BaseException:
                self._sections.remove(section)
                raise
            return section

    def remove_section(self, section: str) -> None:
        """Remove the options of a stopped back end."""
        with _process.guard:
            if self._sections is not None and self._sections.remove(section):
                conf.reload()

    def close(self) -> None:
        """Discard the configuration; Cinder remains imported."""
        with _process.guard:
            if self._sections is None:
                return
            _process.sections.remove(self._sections)
            _process.defaults.pop(self._sections.path, None)
            closed, self._sections = self._sections, None
            conf.load(_process.sections)
            closed.close()
