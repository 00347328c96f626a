"""A volume on this host: its stage record, device, paths and mounts. Changes nothing and never hangs."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from csi_cinderlib.brick import scsi
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel, mounts, mounttable
from csi_cinderlib.inspection.observed import HostView, Mounted
from csi_cinderlib.node import durable_files, encryption, health, stage_record
from csi_cinderlib.node.amendments import Amendments
from csi_cinderlib.node.stage_record import StageRecord

SECONDS = 5.0
"""Time limit for a device or a share."""
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class _Closed:
    """A vault without keys: secrets in a stage record are not read."""

    def seal(self, secret: bytes) -> str:  # noqa: ARG002  # the protocol's
        raise AssertionError("a record opened for reading must not be stored")

    def open(self, text: str) -> bytes:  # noqa: ARG002  # the protocol's
        return b'{"data": {}, "info": {}}'


def look(state_dir: Path, volume_id: str, *, name: str = "") -> HostView | None:
    """The volume on this host; None if this host has no stage records, so is not a node."""
    directory = state_dir / "stage"
    name = name or socket.gethostname()
    try:
        is_node = directory.is_dir()
        record = _record(state_dir, volume_id) if is_node else None
    except OSError as error:
        return HostView(name=name, stage="unreadable", problem=f"{directory} cannot be read: {error.strerror}")
    except _UNREADABLE as error:
        return HostView(name=name, stage="unreadable", problem=f"its stage record cannot be read: {error}")
    if not is_node:
        return None
    if record is None:
        return HostView(name=name)
    view = HostView(
        name=name,
        stage=record.state.value,
        protocol=record.connection.protocol,
        device=record.device.path if record.device else "",
        multipath=bool(record.device and record.device.multipath),
        fs_type=record.fs_type,
    )
    answer = ask(lambda: asdict(_looked_at(view, record)), SECONDS)
    if answer is None:
        silent = view.device or record.staging_path
        return replace(view, problem=f"{silent} did not respond within {SECONDS:.0f} s")
    return HostView(**{**answer, "mounts": tuple(Mounted(**mount) for mount in answer["mounts"])})


def _record(state_dir: Path, volume_id: str) -> StageRecord | None:
    path = state_dir / "stage" / f"{durable_files.name_of(volume_id)}.json"
    try:
        text = Amendments(state_dir / "stage-changes").latest(path.name, lambda: kernel.read(str(path)))
    except FileNotFoundError:
        return None
    return stage_record.decode(text, _Closed())


def _looked_at(view: HostView, record: StageRecord) -> HostView:
    try:
        return _with_device(view, record)
    except HostError as error:
        return replace(view, problem=str(error))


def _with_device(view: HostView, record: StageRecord) -> HostView:
    problem, paths, errors = "", {}, ""
    if record.device is not None:
        problem = health.device_problem(record.device) or encryption.problem(record)
        with suppress(HostError):
            paths = {disk.name: disk.state for disk in scsi.disks(record.device.path)}
        with suppress(HostError):
            if record.content and record.fs_type.startswith("ext"):
                errors = health.errors_noted(record.content.path)
    return replace(view, problem=problem, paths=paths, errors=errors, mounts=tuple(_mounts(record)))


def _mounts(record: StageRecord) -> Iterator[Mounted]:
    table = mounttable.table()
    is_mount = "fs_type" in stage_record._capability(record.capability)
    if is_mount and record.state.value == "staged":
        yield _mounted(record.staging_path, table, read_only=False)
    for publication in record.publications:
        yield _mounted(publication.target_path, table, read_only=publication.read_only, is_mount=is_mount)


def _mounted(path: str, table: tuple[mounttable.Mount, ...], *, read_only: bool, is_mount: bool = True) -> Mounted:
    found = mounts.find(path, among=table)
    if found is None:
        return Mounted(path=path)
    problem = health.mount_problem(found, read_only=read_only or found.read_only) if is_mount else ""
    if is_mount and not read_only and "ro" in found.super_options:
        problem = problem or "an error made the file system read-only"
    return Mounted(path=path, present=True, read_only=found.read_only, problem=problem)


def ask(work: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    """Run `work` in a child process, because the kernel may never wake a thread that waits for a device. None: no answer."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        with suppress(BaseException):
            os.write(sender, json.dumps(work()).encode())
        os._exit(0)
    os.close(sender)
    try:
        text = _received(receiver, seconds)
    finally:
        os.close(receiver)
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, os.WNOHANG)
    return json.loads(text) if text else None


def _received(receiver: int, seconds: float) -> bytes:
    """Read to the end of the pipe; b"" after the time limit."""
    import time

    text, deadline = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([receiver], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b""
        part = os.read(receiver, 65536)
        if not part:
            return text
        text += part
