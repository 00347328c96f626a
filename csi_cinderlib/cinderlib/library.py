"""A set-up of the library: a metadata store and its back ends. A process may have several."""

from __future__ import annotations

import contextlib
import json as json_text
import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinderlib import checks, default, exception, forks, persistence, references, serialization, state
from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.current_store import CurrentStore
from csi_cinderlib.cinderlib.default import DEFAULT_PROJECT_ID, DEFAULT_USER_ID
from csi_cinderlib.cinderlib.handles import Handles
from csi_cinderlib.cinderlib.held import HeldObjects
from csi_cinderlib.cinderlib.presence import Presence
from csi_cinderlib.cinderlib.quiet import hush
from csi_cinderlib.cinderlib.results import Json, JsonSource
from csi_cinderlib.cinderlib.session import Place, Session
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.concurrency import Gate
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model import records

if TYPE_CHECKING:
    from csi_cinderlib.brick import Initiator

O = TypeVar("O", Volume, Snapshot, Connection)  # noqa: E741  # object


class Library:
    """A set-up. `setup` creates the set-up of the module's functions and classes. Further set-ups are created directly:

    `Library(persistence_config=...).backend("name", volume_driver=..., ...)`.

    Args:
        file_locks_path: a directory for the drivers' locks, shared by all processes that use the same storage; by default
            below `state_dir`. The directory of the first set-up is used until all set-ups are closed.
        root_helper: the command prefix to run as root, for attaching if this process is not root.
        suppress_requests_ssl_warnings: suppress warnings about unverified certificates.
        disable_logs: no log output of Cinder and os-brick unless the program configures `logging`. Logging is not disabled.
        non_uuid_ids: suppress warnings about ids that are not UUIDs.
        output_all_backend_info: JSON contains the back ends' whole configuration, including passwords.
        project_id, user_id: project and user of new volumes and snapshots.
        persistence_config: `storage` and its options: `memory` (the default), `db` with a `connection` URL, `memory_db`; the
            name of a plugin of this package or of cinderlib; or a class or instance of `PersistenceDriverBase` or
            `csi_cinderlib.persistence.api.Store`. With
            `sealing_keys`, a list of `{"id": ..., "key": ...}`, credentials are stored sealed: the first key seals, all open.
        fail_on_missing_backend: an object whose back end is not loaded is an error; otherwise its `backend` is the name.
        host: the first part of Cinder's `host@backend#pool`; by default this host's name.
        ensure_exports: during the set-up of a back end, let its driver export all connected volumes again, as Cinder does at
            start. Needed if exports are lost when the machine restarts, for example for LVM with tgt. This may take long.
        state_dir: the directory for persistent files of drivers: SSH host keys, tgt exports, mounted shares. Processes of a
            user may share it. It is never removed. By default `/var/lib/csi-cinderlib/library` for root, otherwise
            `csi-cinderlib/library` below `$XDG_STATE_HOME` or `~/.local/state`; `$CINDERLIB_LIBRARY_STATE_DIR` overrides both.
        cinder_config_params: options of Cinder's DEFAULT section, for example `my_ip`.
    """

    _backend_class: type[Backend] = Backend
    """Returned by `Object.backend_class`, and used for back ends in JSON."""

    def __init__(  # noqa: PLR0913  # setup's, by keyword
        self,
        *,
        file_locks_path: str | None = None,
        root_helper: str = "sudo",
        suppress_requests_ssl_warnings: bool = True,
        disable_logs: bool = True,
        non_uuid_ids: bool = False,
        output_all_backend_info: bool = False,
        project_id: str | None = None,
        user_id: str | None = None,
        persistence_config: Mapping[str, object] | None = None,
        fail_on_missing_backend: bool = True,
        host: str | None = None,
        ensure_exports: bool = False,
        state_dir: Path | str | None = None,
        **cinder_config_params: object,
    ) -> None:
        self.host_name = socket.gethostname()
        self.im_root = os.geteuid() == 0
        self.backends: dict[str, Backend] = {}
        self.objects = HeldObjects()
        """The volumes, snapshots and connections that the program holds."""
        self._started: list[Backend] = []
        """The back ends to stop at the end, even if the program has removed them from `backends`."""
        self._is_named = state_dir is not None
        self._directory = state.made(state_dir) if state_dir else state.make_directory()
        self._share(self._shared_by_drivers(file_locks_path, host, cinder_config_params))
        self._make_locks()
        self.store = CurrentStore(lambda: self._session.store)
        self._opened: Session | None = Session(self._place(persistence_config), self.host_name)
        persistence.serve(self)
        self.handles = Handles(self, one_each=not self.store.traits.durable)
        self.persistence = persistence.Persistence(self)
        self._runtime = self._make_runtime()
        self._set(
            project_id=project_id,
            user_id=user_id,
            fail_on_missing_backend=fail_on_missing_backend,
            output_all_backend_info=output_all_backend_info,
            non_uuid_ids=non_uuid_ids,
            ensure_exports=ensure_exports,
            root_helper=root_helper,
        )
        hush(suppress_requests_ssl_warnings, disable_logs, non_uuid_ids)
        forks.watch(self)

    def _set(
        self,
        *,
        project_id: str | None,
        user_id: str | None,
        fail_on_missing_backend: bool,
        output_all_backend_info: bool,
        non_uuid_ids: bool,
        ensure_exports: bool,
        root_helper: str,
    ) -> None:
        """The options that may change while back ends are loaded."""
        self.project_id = checks.optional_text("project_id", project_id) or DEFAULT_PROJECT_ID
        self.user_id = checks.optional_text("user_id", user_id) or DEFAULT_USER_ID
        self.fail_on_missing_backend = fail_on_missing_backend
        self.output_all_backend_info = output_all_backend_info
        self.non_uuid_ids = non_uuid_ids
        self.ensure_exports = ensure_exports
        self._root_helper = checks.optional_text("root_helper", root_helper) or ""

    def _share(self, options: Mapping[str, Any]) -> None:
        """The options that all drivers share, and that may not change while back ends are loaded."""
        self.cinder_options = dict(options)
        self._lock_directory: Path | None = self.cinder_options.pop("file_locks_path")
        self.host = str(self.cinder_options.pop("host"))

    def _shared_by_drivers(
        self, file_locks_path: str | None, host: str | None, cinder_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        locks = state.made(file_locks_path, "file_locks_path") if file_locks_path else None
        host = checks.optional_text("host", host) or self.host_name
        return {"file_locks_path": locks, "host": host, **cinder_options}

    def set_up_again(
        self,
        *,
        persistence_config: Mapping[str, Any] | None,
        file_locks_path: str | None,
        host: str | None,
        suppress_requests_ssl_warnings: bool,
        disable_logs: bool,
        options: Mapping[str, Any],
        cinder_options: Mapping[str, Any],
    ) -> None:
        """Change the set-up in place: back ends and held objects stay in use.

        Raises:
            RuntimeError: an option cannot be changed while back ends are loaded. Nothing was changed.
            InvalidPersistence, ConfigurationError, StoreUnavailable: the new store cannot be used. Nothing was changed.
        """
        now = {"file_locks_path": self._lock_directory, "host": self.host, **self.cinder_options}
        shared = self._shared_by_drivers(file_locks_path, host, cinder_options)
        changed = sorted(name for name in shared.keys() | now.keys() if shared.get(name) != now.get(name))
        if changed and self._started:
            raise RuntimeError(f"cannot change {', '.join(changed)} while back ends are loaded; call close() first")
        self.set_persistence(persistence_config)
        if changed:
            self._runtime.close()
            self._share(shared)
            self._runtime = self._make_runtime()
        self._set(**options)
        hush(suppress_requests_ssl_warnings, disable_logs, self.non_uuid_ids)

    def _make_locks(self) -> None:
        self._guard = threading.RLock()
        """Held during a change of the store and during close."""
        self._gate = Gate()
        """Closed during a change of the store."""
        self._set_ups: dict[str, threading.RLock] = {}
        self._locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._look_up = threading.Lock()
        """Held only to look up a lock in the two mappings."""

    def _make_runtime(self) -> Runtime:
        return Runtime(
            self._directory,
            host=self.host,
            owner=self.owner,
            lock_dir=self._lock_directory,
            defaults=references.resolved(self.cinder_options, self.cinder_options),
        )

    @property
    def runtime(self) -> Runtime:
        self._session  # noqa: B018  # in a forked child it creates another Runtime
        return self._runtime

    def _place(self, config: Mapping[str, Any] | None) -> Place:
        return Place(config, self._directory, is_named=self._is_named)

    @property
    def _session(self) -> Session:
        session = self._opened
        return session if session is not None else self._open_in_child()

    @property
    def owner(self) -> str:
        return self._session.owner

    @property
    def presence(self) -> Presence:
        return self._session.presence

    # --- back ends

    def backend(self, volume_backend_name: str, **driver_cfg: object) -> Backend:
        """As `Backend(...)`, in this set-up. Only callers that want the same back end wait for its set-up."""
        return self.backend_as(Backend, volume_backend_name, driver_cfg)

    def backend_as(self, cls: type[Backend], name: str, cfg: Mapping[str, Any]) -> Backend:
        """As `cls(...)`, for a class derived from `Backend`. A known back end keeps its class."""
        name = checks.text("volume_backend_name", name)
        with self._setting_up(name):
            known = self.backends.get(name)
            if known is None:
                known = self.backends[name] = cls._of(self, name, cfg)
                self._started.append(known)
            elif not known._is_given(cfg):
                raise ValueError(f"Backend named {name} already exists with a different configuration")
            return known

    def _setting_up(self, name: str) -> threading.RLock:
        with self._look_up:
            return self._set_ups.setdefault(name, threading.RLock())

    def backend_named(self, name: str) -> Backend | str:
        """A loaded back end. If it is not loaded, raises KeyError or returns the name, depending on `fail_on_missing_backend`."""
        if name not in self.backends and (not self.fail_on_missing_backend or default.is_serving()):
            return name
        return self.backends[name]

    def backend_of(self, data: Mapping[str, Any], cls: type[Backend] | None = None) -> Backend | str:
        """A back end from its JSON description. It is set up if the description has the whole configuration.

        Raises:
            KeyError: the back end is not loaded, and the description has only its name.
        """
        name = data["volume_backend_name"]
        if name not in self.backends and len(data) > 1 and not default.is_serving():
            rest = {key: value for key, value in data.items() if key != "volume_backend_name"}
            return self.backend_as(cls or self._backend_class, name, rest)
        return self.backend_named(name)

    def set_persistence(self, config: Mapping[str, object] | None) -> None:
        """Change the metadata store. Back ends and the objects that the program holds stay in use.

        An object that the new store does not contain is stored there at its next operation. The same configuration changes nothing.

        Raises:
            InvalidPersistence, ConfigurationError, StoreUnavailable: the new store cannot be used. The earlier one stays in use.
        """
        with self._at_rest(), self._gate.closed():
            before, place = self._opened, self._place(config)  # None in a forked child that has not used the set-up
            if before is None:
                self._opened = Session(place, self.host_name)
                self._runtime = self._make_runtime()
            elif place == before.place:
                return
            else:
                self._opened = Session(place, self.host_name, owner=before.owner)
            persistence.serve(self)
            self.handles = Handles(self, one_each=not self.store.traits.durable)
            for held in self.objects:
                held._leave_store()
            for backend in self.backends.values():
                backend._volumes = None
            if before is not None:
                before.close()

    @contextlib.contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Wait for back ends that are being set up, and block further set-ups."""
        with self._guard, contextlib.ExitStack() as held:
            with self._look_up:
                known = list(self._set_ups.values())
            for lock in known:
                held.enter_context(lock)
            yield

    # --- objects

    def volume(self, id: str) -> Volume:
        """Raises VolumeNotFound."""
        with exception.about(self):
            return self.handles.find_volume(checks.text("volume_id", id))

    def snapshot(self, id: str) -> Snapshot:
        """Raises SnapshotNotFound."""
        with exception.about(self):
            return self.handles.snapshot(self.store.get(records.Snapshot, checks.text("snapshot_id", id)))

    def connection(self, id: str) -> Connection:
        """Raises ConnectionNotFound."""
        with exception.about(self):
            return self.handles.connection(self.store.get(records.Attachment, checks.text("connection_id", id)))

    @contextlib.contextmanager
    def busy(self, volume_id: str) -> Iterator[None]:
        """Serialise changes of a volume or snapshot between threads."""
        with self._look_up:
            lock = self._locks.setdefault(volume_id, threading.RLock())
        with self._gate, lock:
            yield

    def initiator(self, *, multipath: bool, scan_attempts: int) -> Initiator:
        """The initiator that attaches volumes to this host."""
        from csi_cinderlib.brick import ANYWHERE, Initiator

        return Initiator(
            self.runtime.state_dir,
            multipath=multipath,
            root_helper="" if self.im_root else self._root_helper,
            scan_attempts=scan_attempts,
            allowed=ANYWHERE,  # the connection was created by the same program
        )

    # --- JSON

    def load(self, json_src: JsonSource | Sequence[Json], save: bool = False) -> Any:
        """Load objects from the output of `json` or `dump`, as text or parsed: one object or a list."""
        return serialization.load_all(self, json_src, save)

    def load_backend(
        self, source: JsonSource, *, save: bool = False, cls: type[Backend] | None = None
    ) -> Backend | str:
        return serialization.load_backend(self, source, save, cls)

    def load_object(self, kind: type[O], source: JsonSource, save: bool) -> O:
        """Load a volume, snapshot or connection. Without `save` it is stored on the first operation."""
        handle: O = serialization.load_object(self, kind, source)
        if save:
            handle._keep()
        return handle

    def json(self) -> list[Json]:
        """All objects of the loaded back ends."""
        return [backend.json for backend in list(self.backends.values())]

    def jsons(self) -> str:
        return json_text.dumps(self.json(), separators=(",", ":"))

    def dump(self) -> list[Json]:
        """`json`, after loading everything."""
        return [backend.dump for backend in list(self.backends.values())]

    def dumps(self) -> str:
        return json_text.dumps(self.dump(), separators=(",", ":"))

    # --- closing

    def close(self) -> None:
        """Close the back ends and the store. Volumes and connections are not changed."""
        with self._at_rest():
            for backend in self._started:
                backend._stop()
            self._started.clear()
            self.backends.clear()
            if self._opened is not None:  # otherwise this is a forked child that has not used the set-up
                self._opened.close()
            with contextlib.suppress(NotFound):
                self._runtime.close()

    # --- forks

    def begin_child(self) -> None:
        """Leave everything that a forked child has inherited to the parent. The child opens its own on first use.

        Called in the child, which may be about to execute another program. Takes no lock, since another thread of the parent may
        hold it.
        """
        self._make_locks()
        session, self._opened = self._opened, None
        if session is not None:
            self._for_child = session.for_child(self.host_name)
        for backend in self._started:
            backend._leave_driver()

    def _open_in_child(self) -> Session:
        with self._guard:
            if self._opened is None:
                self._opened = self._for_child()
                persistence.serve(self)
                self._runtime = self._make_runtime()
            return self._opened
