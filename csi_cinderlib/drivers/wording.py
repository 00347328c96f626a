"""What went wrong with a file, as Cinder's drivers say it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from cinder import exception

from csi_cinderlib.drivers.directories import NoRoom
from csi_cinderlib.drivers.identities import WrongPool
from csi_cinderlib.errors import HostError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def in_words(doing: str) -> Iterator[None]:
    """What went wrong with a file as Cinder's exception."""
    try:
        yield
    except (NoRoom, WrongPool, HostError) as error:
        raise exception.VolumeBackendAPIException(data=f"{doing}: {error}") from error
    except OSError as error:
        reason = "no space left in the file system" if error.errno in _NO_SPACE else error.strerror
        raise exception.VolumeBackendAPIException(data=f"{doing}: {reason}") from error
