"""Snapshots of several volumes of the file driver at one point in time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from cinder import exception

from csi_cinderlib.drivers import allocation, sparse
from csi_cinderlib.drivers.directories import Directory
from csi_cinderlib.drivers.wording import in_words


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot to be taken: the file `source` in the pool becomes the file `name`.

    Attributes:
        room: bytes that the pool must offer.
        size: bytes of the snapshot.
    """

    pool: Directory
    source: str
    name: str
    room: int
    size: int


def take(copies: Sequence[Copy], failure: str) -> None:
    """Take all snapshots, or none. `failure` is "cannot VERB the OBJECT"."""
    sources = [copy.source for copy in copies]
    with in_words(failure), contextlib.ExitStack() as cleanup:
        for copy in copies:
            copy.pool.check_room(copy.room)
        files = [cleanup.enter_context(copy.pool.incomplete(copy.name)) for copy in copies]

        def copy_all() -> None:
            for copy, (target, _) in zip(copies, files, strict=True):
                sparse.clone_path(copy.source, target, copy.size)
                allocation.trim(target)

        if not sparse.undisturbed(sources, copy_all):
            raise exception.InvalidVolume(
                reason=f"{failure}: the volumes are written to continuously; pause the writers"
            )
        with contextlib.ExitStack() as undo:
            for copy, file in zip(copies, files, strict=True):
                copy.pool.publish(file, copy.name)
                undo.callback(copy.pool.remove, copy.name)
            undo.pop_all()
