"""A set-up of the library: a metadata store and its back ends. A process may have several."""

from __future__ import annotations

import contextlib
import json as json_text
import logging
import os
import socket
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinderlib import exception, serialization, state, waiting
from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.default import DEFAULT_PROJECT_ID, DEFAULT_USER_ID
from csi_cinderlib.cinderlib.handles import Handles
from csi_cinderlib.cinderlib.persistence import Persistence, open_store
from csi_cinderlib.cinderlib.presence import Presence, Process
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment

if TYPE_CHECKING:
    from csi_cinderlib.brick import Initiator

O = TypeVar("O", Volume, Snapshot, Connection)  # noqa: E741  # object

_QUIET = ("cinder", "os_brick", "csi_cinderlib", "oslo_config", "oslo_privsep", "oslo_concurrency", "oslo_service")


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
            name of a plugin of this package; or a class or instance of `csi_cinderlib.persistence.api.Store`. With
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

    _backend_class: ClassVar[type[Backend]] = Backend
    """Returned by `Object.backend_class`."""
    _is_set_up = True
    """Returned by `Backend.global_initialization`."""

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
        persistence_config: Mapping[str, Any] | None = None,
        fail_on_missing_backend: bool = True,
        host: str | None = None,
        ensure_exports: bool = False,
        state_dir: Path | str | None = None,
        **cinder_config_params: Any,
    ) -> None:
        self.project_id = project_id or DEFAULT_PROJECT_ID
        self.user_id = user_id or DEFAULT_USER_ID
        self.fail_on_missing_backend = fail_on_missing_backend
        self.output_all_backend_info = output_all_backend_info
        self.non_uuid_ids = non_uuid_ids
        self.ensure_exports = ensure_exports
        self.im_root = os.geteuid() == 0
        self.host_name = socket.gethostname()
        self.host = host or self.host_name
        self.cinder_options = dict(cinder_config_params)
        self.backends: dict[str, Backend] = {}
        self._is_named = state_dir is not None
        self._directory = Path(state_dir) if state_dir else state.make_directory()
        self._root_helper = "" if self.im_root else root_helper
        self._guard = threading.RLock()
        """Held during a change of the store and during close."""
        self._set_ups: dict[str, threading.RLock] = {}
        self._locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._look_up = threading.Lock()
        """Held only to look up a lock in the two mappings above."""
        self.owner = str(Process.this(self.host_name))
        self.runtime = Runtime(
            self._directory,
            host=self.host,
            owner=self.owner,
            lock_dir=Path(file_locks_path) if file_locks_path else None,
            defaults=self.cinder_options,
        )
        _hush(suppress_requests_ssl_warnings, disable_logs, non_uuid_ids)
        self._open(persistence_config)

    def _open(self, config: Mapping[str, Any] | None) -> None:
        self.store = waiting.until_free(lambda: open_store(config, self._directory, is_named=self._is_named))
        self.handles = Handles(self, one_each=not self.store.traits.durable)
        self.persistence = Persistence(self)
        self.presence = Presence(self.store, self.owner)
        self.presence.start()
        weakref.finalize(self, self.presence.stop)

    # --- back ends

    def backend(self, volume_backend_name: str, **driver_cfg: Any) -> Backend:
        """As `Backend(...)`, in this set-up. Only callers that want the same back end wait for its set-up."""
        with self._setting_up(volume_backend_name):
            known = self.backends.get(volume_backend_name)
            if known is None:
                known = self.backends[volume_backend_name] = Backend._of(self, volume_backend_name, driver_cfg)
            elif known._cfg != driver_cfg:
                raise ValueError(f"Backend named {volume_backend_name} already exists with a different configuration")
            return known

    def _setting_up(self, name: str) -> threading.RLock:
        with self._look_up:
            return self._set_ups.setdefault(name, threading.RLock())

    def backend_named(self, name: str) -> Backend | str:
        """A loaded back end. If it is not loaded, raises KeyError or returns the name, depending on `fail_on_missing_backend`."""
        if name not in self.backends and not self.fail_on_missing_backend:
            return name
        return self.backends[name]

    def backend_of(self, data: Mapping[str, Any]) -> Backend | str:
        """A back end from its JSON description. It is set up if the description has the whole configuration.

        Raises:
            KeyError: the back end is not loaded, and the description has only its name.
        """
        name = data["volume_backend_name"]
        if name not in self.backends and len(data) > 1:
            return self.backend(**data)
        return self.backend_named(name)

    def set_persistence(self, config: Mapping[str, Any] | None) -> None:
        """Change the metadata store and set up the back ends again."""
        with self._at_rest():
            before = [(backend.id, backend._cfg) for backend in self.backends.values()]
            self._stop()
            self._open(config)
            for name, cfg in before:
                self.backend(name, **cfg)

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
            return self.handles.volume(self.store.get(records.Volume, id))

    def snapshot(self, id: str) -> Snapshot:
        """Raises SnapshotNotFound."""
        with exception.about(self):
            return self.handles.snapshot(self.store.get(records.Snapshot, id))

    def connection(self, id: str) -> Connection:
        """Raises ConnectionNotFound."""
        with exception.about(self):
            return self.handles.connection(self.store.get(Attachment, id))

    @contextlib.contextmanager
    def busy(self, volume_id: str) -> Iterator[None]:
        """Serialise changes of a volume or snapshot between threads."""
        with self._look_up:
            lock = self._locks.setdefault(volume_id, threading.RLock())
        with lock:
            yield

    def initiator(self, *, multipath: bool, scan_attempts: int) -> Initiator:
        """The initiator that attaches volumes to this host."""
        from csi_cinderlib.brick import ANYWHERE, Initiator

        return Initiator(
            self.runtime.state_dir,
            multipath=multipath,
            root_helper=self._root_helper,
            scan_attempts=scan_attempts,
            allowed=ANYWHERE,  # the connection was created by the same program
        )

    # --- JSON

    def load(self, json_src: Any, save: bool = False) -> Any:
        """Load objects from the output of `json` or `dump`, as text or parsed: one object or a list."""
        source = json_text.loads(json_src) if isinstance(json_src, str) else json_src
        if isinstance(source, list):
            return [self.load(item, save) for item in source]
        if source["class"] == "Backend":
            return self.load_backend(source, save=save)
        kinds = {"Volume": Volume, "Snapshot": Snapshot, "Connection": Connection}
        return self.load_object(kinds[source["class"]], source, save)

    def load_backend(self, source: Mapping[str, Any], *, save: bool = False) -> Backend | str:
        backend = self.backend_of(source["backend"])
        if isinstance(backend, Backend) and source.get("volumes"):
            backend._volumes = [self.load_object(Volume, volume, save) for volume in source["volumes"]]
        return backend

    def load_object(self, kind: type[O], source: Any, save: bool) -> O:
        """Load a volume, snapshot or connection. Without `save` it is stored on the first operation."""
        source = json_text.loads(source) if isinstance(source, str) else source
        handle: O = serialization.load_object(self, kind, source["ovo"], self.backend_of(source["backend"]))
        if save:
            handle._take(handle._store_all())
        return handle

    def json(self) -> list[dict[str, Any]]:
        """All objects of the loaded back ends."""
        return [backend.json for backend in list(self.backends.values())]

    def jsons(self) -> str:
        return json_text.dumps(self.json(), separators=(",", ":"))

    def dump(self) -> list[dict[str, Any]]:
        """`json`, after loading everything."""
        return [backend.dump for backend in list(self.backends.values())]

    def dumps(self) -> str:
        return json_text.dumps(self.dump(), separators=(",", ":"))

    # --- closing

    def _stop(self) -> None:
        for backend in self.backends.values():
            backend.core.stop()
        self.backends.clear()
        self.presence.stop()
        self.store.close()

    def close(self) -> None:
        """Close the back ends and the store. Volumes and connections are not changed."""
        with self._at_rest():
            self._stop()
            with contextlib.suppress(NotFound):
                self.runtime.close()


def _hush(requests: bool, logs: bool, ids: bool) -> None:
    """Suppress output on standard error. A program that configures logging or warnings still gets it."""
    if requests:
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    if ids:
        warnings.filterwarnings("ignore", message=".*is an invalid UUID")
    for name in _QUIET if logs else ():
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
