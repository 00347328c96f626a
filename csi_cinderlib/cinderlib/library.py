"""One set-up of the library: a metadata store, and back ends on it. A process may have several."""

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
from csi_cinderlib.cinderlib import exception, serialization, state
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
    """A set-up. `setup` makes the one that the module's functions and classes use; others are made by hand:

    `Library(persistence_config=...).backend("name", volume_driver=..., ...)`.

    Args:
        file_locks_path: a directory for the drivers' locks, shared by the processes that use the same storage; by default
            below `state_dir`. That of the first set-up holds until all are closed.
        root_helper: what makes a command run as root, for attaching when this process is not root.
        suppress_requests_ssl_warnings: no warnings of certificates that are not verified.
        disable_logs: Cinder and os-brick say nothing unless the program configures `logging`. Nothing is switched off.
        non_uuid_ids: no warnings of ids that are no UUIDs.
        output_all_backend_info: JSON holds the back ends' whole configuration, passwords included.
        project_id, user_id: of new volumes and snapshots.
        persistence_config: `storage` and its options: `memory` (the default), `db` with a `connection` URL, `memory_db`; any
            plugin of this package by name; a class or an instance that is a `csi_cinderlib.persistence.api.Store`. With
            `sealing_keys`, a list of `{"id": ..., "key": ...}`, credentials are stored sealed: the first key writes, all read.
        fail_on_missing_backend: an object whose back end is not loaded is an error; otherwise its `backend` is the name.
        host: the first half of Cinder's `host@backend#pool`; by default this host's name.
        ensure_exports: when a back end is set up, have its driver export again every volume that is connected, as Cinder does
            when it starts. For what loses its exports when the machine restarts, as LVM with tgt does; it takes its time.
        state_dir: where drivers keep what the next process needs: SSH host keys, tgt's exports, mounted shares. Processes of a
            user may share it, and nothing removes it. By default `/var/lib/csi-cinderlib/library` for root, otherwise
            `csi-cinderlib/library` below `$XDG_STATE_HOME` or `~/.local/state`; `$CINDERLIB_LIBRARY_STATE_DIR` goes before both.
        cinder_config_params: options of Cinder's DEFAULT section, `my_ip` say.
    """

    _backend_class: ClassVar[type[Backend]] = Backend
    """`Object.backend_class` shows it."""
    _is_set_up = True
    """`Backend.global_initialization` tells it."""

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
        """Held while the set-up as a whole changes: another store, or the end."""
        self._set_ups: dict[str, threading.RLock] = {}
        self._locks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._look_up = threading.Lock()
        """Held to find a lock in the two above, never while something is done."""
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
        self.store = open_store(config, self._directory, is_named=self._is_named)
        self.handles = Handles(self, one_each=not self.store.traits.durable)
        self.persistence = Persistence(self)
        self.presence = Presence(self.store, self.owner)
        self.presence.start()
        weakref.finalize(self, self.presence.stop)

    # --- back ends

    def backend(self, volume_backend_name: str, **driver_cfg: Any) -> Backend:
        """As `Backend(...)`, in this set-up. Setting one up holds up nothing else, and nobody but who wants the same one."""
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
        """A loaded back end. Raises KeyError, or answers the name, as `fail_on_missing_backend` says."""
        if name not in self.backends and not self.fail_on_missing_backend:
            return name
        return self.backends[name]

    def backend_of(self, data: Mapping[str, Any]) -> Backend | str:
        """A back end as JSON describes it: set up, when its whole configuration is there.

        Raises:
            KeyError: it is not loaded, and JSON holds no more than its name.
        """
        name = data["volume_backend_name"]
        if name not in self.backends and len(data) > 1:
            return self.backend(**data)
        return self.backend_named(name)

    def set_persistence(self, config: Mapping[str, Any] | None) -> None:
        """Keep metadata elsewhere from now on; the back ends are set up again on it."""
        with self._at_rest():
            before = [(backend.id, backend._cfg) for backend in self.backends.values()]
            self._stop()
            self._open(config)
            for name, cfg in before:
                self.backend(name, **cfg)

    @contextlib.contextmanager
    def _at_rest(self) -> Iterator[None]:
        """While no back end is being set up; whoever has begun to is waited for."""
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
        """Let one thread at a time change a volume or snapshot; the others wait."""
        with self._look_up:
            lock = self._locks.setdefault(volume_id, threading.RLock())
        with lock:
            yield

    def initiator(self, *, multipath: bool, scan_attempts: int) -> Initiator:
        """What attaches volumes to this host."""
        from csi_cinderlib.brick import ANYWHERE, Initiator

        return Initiator(
            self.runtime.state_dir,
            multipath=multipath,
            root_helper=self._root_helper,
            scan_attempts=scan_attempts,
            allowed=ANYWHERE,  # the program that attaches has made the connection, too
        )

    # --- JSON

    def load(self, json_src: Any, save: bool = False) -> Any:
        """The objects that `json` or `dump` described, from the text or what it stands for: one, or a list."""
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
        """One volume, snapshot or connection. Without `save` it is stored when it is first worked with."""
        source = json_text.loads(source) if isinstance(source, str) else source
        handle: O = serialization.load_object(self, kind, source["ovo"], self.backend_of(source["backend"]))
        if save:
            handle._take(handle._store_all())
        return handle

    def json(self) -> list[dict[str, Any]]:
        """Everything on the loaded back ends."""
        return [backend.json for backend in list(self.backends.values())]

    def jsons(self) -> str:
        return json_text.dumps(self.json(), separators=(",", ":"))

    def dump(self) -> list[dict[str, Any]]:
        """As `json`, with everything loaded first."""
        return [backend.dump for backend in list(self.backends.values())]

    def dumps(self) -> str:
        return json_text.dumps(self.dump(), separators=(",", ":"))

    # --- the end

    def _stop(self) -> None:
        for backend in self.backends.values():
            backend.core.stop()
        self.backends.clear()
        self.presence.stop()
        self.store.close()

    def close(self) -> None:
        """Forget the back ends and close the store. Volumes and connections stay as they are."""
        with self._at_rest():
            self._stop()
            with contextlib.suppress(NotFound):
                self.runtime.close()


def _hush(requests: bool, logs: bool, ids: bool) -> None:
    """Quiet what would talk on standard error; who configures logging or warnings still gets what he asks for."""
    if requests:
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    if ids:
        warnings.filterwarnings("ignore", message=".*is an invalid UUID")
    for name in _QUIET if logs else ():
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
