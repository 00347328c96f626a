"""Writes new files atomically, readable for their owner only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from csi_cinderlib.errors import InvalidRequest


def write(files: Mapping[Path, str]) -> None:
    """Write all files or none.

    Raises:
        InvalidRequest: a file already exists, or its directory does not.
        OSError: with the name of the file.
    """
    for path in files:
        if path.exists() or path.is_symlink():
            raise InvalidRequest(str(path), "already exists; choose another name")
        if not path.parent.is_dir():
            raise InvalidRequest(str(path.parent), "must be a directory")
    with ExitStack() as undo, ExitStack() as drafts:
        written = {}
        for path, text in files.items():
            with _named(path):
                written[path] = _draft(path, text, drafts)
        for path, draft in written.items():
            with _named(path):
                os.link(draft, path)  # unlike a rename, it replaces nothing
            undo.callback(_remove, path)
        undo.pop_all()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors name the final file instead of its draft."""
    try:
        yield
    except FileExistsError:
        raise InvalidRequest(str(path), "already exists; choose another name") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _draft(path: Path, text: str, drafts: ExitStack) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    drafts.callback(_remove, draft)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())
    return draft


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
