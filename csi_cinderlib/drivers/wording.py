"""File errors as Cinder exceptions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cinder import exception

from csi_cinderlib.drivers.directories import NoRoom
from csi_cinderlib.drivers.identities import WrongPool
from csi_cinderlib.errors import HostError
from csi_cinderlib.host.reserve import is_full


class PoolFull(exception.VolumeBackendAPIException):  # type: ignore[misc]  # Cinder has no types
    """The pool lacks the space."""


@contextlib.contextmanager
def in_words(failure: str) -> Iterator[None]:
    """Raise file errors as Cinder's exception, with the text `failure: cause`.

    Args:
        failure: "cannot VERB the OBJECT".
    """
    try:
        yield
    except NoRoom as error:
        raise PoolFull(data=f"{failure}: {error}") from error
    except (WrongPool, HostError) as error:
        raise exception.VolumeBackendAPIException(data=f"{failure}: {error}") from error
    except OSError as error:
        about = f" of {error.filename}" if error.filename else ""
        if is_full(error):
            raise PoolFull(data=f"{failure}: no space left in the file system{about}") from error
        raise exception.VolumeBackendAPIException(data=f"{failure}: {error.strerror}") from error
