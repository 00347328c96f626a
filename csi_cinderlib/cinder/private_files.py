"""Copies of configured files for drivers that rewrite them: Huawei's encodes the passwords in its XML file."""

from __future__ import annotations

import os
from pathlib import Path

from csi_cinderlib.backend.secret_values import FILES
from csi_cinderlib.cinder import naming
from csi_cinderlib.config import option_paths
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Verbatim

REWRITTEN = ("cinder_huawei_conf_file",)
"""Options that name such a file."""


class PrivateFiles:
    """A back end's copies of the files that its driver rewrites, in memory, so that they never outlive the process."""

    def __init__(self, settings: BackendSettings) -> None:
        self._copies = {
            name: _Copy(settings, name, FILES[name][1])
            for name in REWRITTEN
            if settings.driver.startswith(FILES[name][0])
        }

    def refresh(self) -> bool:
        """Copy files that have changed since the last call, since drivers read changed files again. Whether any file has changed.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        changed = [copy.refresh() for copy in self._copies.values()]
        return any(changed)

    def options(self) -> dict[str, object]:
        """The options with the paths of the copies."""
        return {name: copy.path for name, copy in self._copies.items()}

    def close(self) -> None:
        """Discard the copies. Idempotent."""
        for copy in self._copies.values():
            copy.close()


class _Copy:
    def __init__(self, settings: BackendSettings, name: str, default: str) -> None:
        self._settings, self._name, self._default = settings, name, default
        self._fd = -1
        self._seen: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def refresh(self) -> bool:
        original = self._original()
        try:
            status = original.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            has_changed = seen != self._seen
            if has_changed:
                self._hold(original.read_bytes())
        except OSError as error:
            key = f"backends.{self._settings.name}.options.{self._name}"
            raise ConfigurationError(key, f"cannot read {original}: {error.strerror}") from None
        self._seen = seen
        return has_changed

    def _original(self) -> Path:
        value = naming.by_name(self._settings).get(self._name) or self._default
        path = option_paths.located(self._settings, self._name, value if isinstance(value, str) else str(value))
        return Path(path.resolved if isinstance(path, Verbatim) else path)

    def _hold(self, content: bytes) -> None:
        """Replace the content atomically: the driver may be reading it."""
        with os.fdopen(os.memfd_create(self._name), "wb") as file:
            file.write(content)
            file.flush()
            if self._fd < 0:
                self._fd = os.dup(file.fileno())
            else:
                os.dup2(file.fileno(), self._fd, inheritable=False)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._seen = -1, ()
