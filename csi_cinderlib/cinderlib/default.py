"""The process-wide set-up. It is created by `setup`, or on first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib import checks, compatible_errors
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.errors import NotFound

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

DEFAULT_PROJECT_ID = "cinderlib"
DEFAULT_USER_ID = "cinderlib"

_guard = LateLock(reentrant=True)
_library: Library | None = None
_may_repeat = False
"""Whether `setup` may change the existing set-up."""
_serving: ContextVar[Library | None] = ContextVar("csi_cinderlib.serving", default=None)
_library_class: type[Library]
"""Set by the package, because the modules of `Library` import this one."""


def set_library_class(library_class: type[Library]) -> None:
    """Set the class that `setup` instantiates."""
    global _library_class  # noqa: PLW0603  # the single process-wide instance
    _library_class = library_class


def library_class() -> type[Library]:
    """The class of set-ups."""
    return _library_class


def setup(  # noqa: PLR0913, PLR0917  # cinderlib's own signature
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
    **cinder_config_params: object,
) -> None:
    """Set up the library for this process, once. Otherwise the first `Backend` does so with the defaults.

    The arguments are those of `Library`, which creates independent set-ups.

    After `Backend.global_initialization = False` it may be called again. Then loaded back ends and held objects stay in use, with the
    new metadata store.

    Raises:
        RuntimeError: the library is already set up; call `close` first.
        InvalidPersistence, ConfigurationError, StoreUnavailable: the metadata store cannot be used.
    """
    global _library, _may_repeat  # noqa: PLW0603  # the single process-wide instance
    options: dict[str, Any] = {
        "root_helper": root_helper,
        "non_uuid_ids": non_uuid_ids,
        "output_all_backend_info": output_all_backend_info,
        "project_id": project_id,
        "user_id": user_id,
        "fail_on_missing_backend": fail_on_missing_backend,
        "ensure_exports": ensure_exports,
    }
    others: dict[str, Any] = {
        "file_locks_path": file_locks_path,
        "host": host,
        "persistence_config": persistence_config,
        "suppress_requests_ssl_warnings": suppress_requests_ssl_warnings,
        "disable_logs": disable_logs,
    }
    parameters: dict[str, Any] = cinder_config_params
    with _guard:
        if _library is None:
            _library = _library_class(**options, **others, **parameters)
        elif _may_repeat:
            _library.set_up_again(**others, options=options, cinder_options=cinder_config_params)
        else:
            raise RuntimeError("Already setup")
        _may_repeat = False


def is_set_up() -> bool:
    """Whether there is a set-up that `setup` may not change."""
    return _library is not None and not _may_repeat


def allow_setup(allowed: bool) -> None:
    """Allow or refuse another call of `setup`. Until then the existing set-up stays in use."""
    global _may_repeat  # noqa: PLW0603  # of the single process-wide instance
    with _guard:
        _may_repeat = allowed and _library is not None


def current() -> Library | None:
    """The process-wide set-up, if there is one; in a call of a persistence plugin, its set-up."""
    return _serving.get() or _library


@contextmanager
def serving(library: Library) -> Iterator[None]:
    """Call a persistence plugin for this set-up. Objects that the plugin creates are stored ones of this set-up."""
    token = _serving.set(library)
    try:
        yield
    finally:
        _serving.reset(token)


def is_serving() -> bool:
    """Whether a persistence plugin is being called."""
    return _serving.get() is not None


def library() -> Library:
    """The set-up as in `current`, created with the defaults if `setup` was not called."""
    if (served := _serving.get()) is not None:
        return served
    with _guard:
        if _library is None:
            setup()
        assert _library is not None
        return _library


def close() -> None:
    """Close the process-wide set-up, so that `setup` may be called again. Not part of cinderlib."""
    global _library, _may_repeat  # the single process-wide instance
    with _guard:
        if _library is not None:
            _library.close()
            _library, _may_repeat = None, False


def loaded_backend(name_or_backend: Backend | str, argument: str = "backend") -> Backend:
    """The back end itself, or the one of that name in the process-wide set-up.

    Raises:
        KeyError: it is not loaded.
        InvalidRequest: the value is of another type; names the argument.
    """
    if isinstance(name_or_backend, str):
        backend: Backend | None = library().backends.get(name_or_backend)
        if backend is None:
            raise compatible_errors.missing(
                NotFound("back end", name_or_backend, "is not loaded; call Backend(...) first")
            )
        return backend
    if not isinstance(name_or_backend, _library_class._backend_class):
        checks.refuse(argument, f"must be a back end or the name of one (got {name_or_backend!r})")
    return name_or_backend
