"""Set-ups and `os.fork()`: a child gets its own connections, locks, drivers and identity, and the parent keeps its own.

Nothing is opened in a child before it uses the library, because most children execute another program at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

_libraries: weakref.WeakSet[Library] = weakref.WeakSet()
_held: list[contextlib.ExitStack] = []


def watch(library: Library) -> None:
    """Prepare a set-up for forks of this process."""
    _libraries.add(library)


def abandon(value: object) -> None:
    """Never destroy an object that a child has inherited: its destructor could end a session or a lock of the parent."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before() -> None:
    held = contextlib.ExitStack()
    _held.append(held)  # released also if a store cannot be held
    sessions = [library._opened for library in list(_libraries) if library._opened is not None]
    for session in {id(session.store): session for session in sessions}.values():  # two set-ups may share a store
        held.enter_context(session.still())


def _in_parent() -> None:
    if _held:
        _held.pop().close()


def _in_child() -> None:
    _in_parent()
    for library in list(_libraries):
        library.begin_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
