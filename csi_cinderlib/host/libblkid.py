"""libblkid of util-linux, which knows more formats than our table. It is called in-process: starting `blkid` costs as much as mkfs."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel

_LIBRARY = "libblkid.so.1"
_NOTHING, _AMBIVALENT = 1, -2
"""Results of blkid_do_safeprobe, besides 0 and errors."""


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise HostError(
            f"cannot load {_LIBRARY}: {error}; on Debian and Ubuntu install the package libblkid1"
        ) from None
    library.blkid_new_probe.restype = ctypes.c_void_p
    return library


def known_as(device: str) -> str:
    """libblkid's name for the content of the device; "" if it recognises nothing.

    Raises:
        HostError: the library is missing, or the device cannot be read.
    """
    library = _library()
    probe = ctypes.c_void_p(library.blkid_new_probe())
    try:
        with kernel.named(f"cannot identify the content of {device}"), kernel.opened(device, os.O_RDONLY) as fd:
            return _told(library, probe, fd)
    finally:
        library.blkid_free_probe(probe)


def _told(library: ctypes.CDLL, probe: ctypes.c_void_p, fd: int) -> str:
    """Superblocks are probed by default, partition tables are not. Raises OSError."""
    ctypes.set_errno(0)
    if library.blkid_probe_set_device(probe, fd, ctypes.c_longlong(0), ctypes.c_longlong(0)):
        raise _error()
    library.blkid_probe_enable_partitions(probe, 1)
    answer = library.blkid_do_safeprobe(probe)
    if answer == _NOTHING:
        return ""
    if answer == _AMBIVALENT:
        return "several signatures"
    if answer:
        raise _error()
    return _value(library, probe, b"TYPE") or _value(library, probe, b"PTTYPE") or "an unnamed format"


def _value(library: ctypes.CDLL, probe: ctypes.c_void_p, name: bytes) -> str:
    data = ctypes.c_char_p()
    if library.blkid_probe_lookup_value(probe, name, ctypes.byref(data), None):
        return ""
    return os.fsdecode(data.value or b"")


def _error() -> OSError:
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, os.strerror(number))
