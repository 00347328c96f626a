"""Calls as sidecars and the kubelet make them: again until one succeeds, sometimes twice at once or without waiting."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from typing import Any

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from tests.torture.bed import Bed
from tests.torture.truth import GIB, Finding, Snapshot, Volume

ATTEMPTS = 4
"""Of one call while disturbances go on; then the client turns to something else, and comes back later."""
CALL_SECONDS = 10.0
SETTLE_SECONDS = 90.0
MODE = csi_pb2.VolumeCapability.AccessMode


STOPPED = re.compile(r" is not (published|grown): (the|an error made the) file system ")


class Unhealthy(Exception):
    """The volume's file system met an error: it has to be taken down and staged again."""


class Unfinished(Exception):
    """A call was not answered yet; the client goes on with it later."""


def capability(kind: str) -> csi_pb2.VolumeCapability:
    mode = MODE(mode=MODE.SINGLE_NODE_WRITER)
    if kind == "block":
        return csi_pb2.VolumeCapability(access_mode=mode, block=csi_pb2.VolumeCapability.BlockVolume())
    return csi_pb2.VolumeCapability(access_mode=mode, mount=csi_pb2.VolumeCapability.MountVolume(fs_type=kind))


def create_request(volume: Volume, size: int = 0) -> csi_pb2.CreateVolumeRequest:
    return csi_pb2.CreateVolumeRequest(
        name=volume.name,
        capacity_range=csi_pb2.CapacityRange(required_bytes=(size or volume.size) * GIB),
        volume_capabilities=[capability(volume.kind)],
        volume_content_source=_content_source(volume.source),
    )


def _content_source(source: Snapshot | Volume | None) -> csi_pb2.VolumeContentSource | None:
    kinds = csi_pb2.VolumeContentSource
    if isinstance(source, Snapshot):
        return kinds(snapshot=kinds.SnapshotSource(snapshot_id=source.id))
    return kinds(volume=kinds.VolumeSource(volume_id=source.id)) if source else None


class Caller:
    """One client's calls. `hurry` makes it give up soon; without it, a call that stays unanswered is a finding."""

    def __init__(self, bed: Bed, chance: random.Random) -> None:
        self.bed = bed
        self.chance = chance
        self.hurry = True
        self.over = threading.Event()

    def call(self, method: str, request: Any) -> Any:
        """The answer. Raises Unfinished; Finding where it has to succeed, and does not."""
        deadline = time.monotonic() + SETTLE_SECONDS
        tries = 0
        while True:
            tries += 1
            try:
                return self._ask(method, request)
            except grpc.RpcError as error:
                problem = words(error)
            if STOPPED.search(problem):
                raise Unhealthy(problem)
            if self.hurry and (tries == ATTEMPTS or self.over.is_set()):
                raise Unfinished(f"{method}: {problem}")
            if time.monotonic() > deadline:
                raise Finding(f"{method} does not succeed after {SETTLE_SECONDS:.0f} s of rest: {problem}\n{request}")
            time.sleep(self.chance.uniform(0.05, 0.4))

    def once(self, method: str, request: Any, seconds: float = CALL_SECONDS) -> Any:
        """Ask once. Raises grpc.RpcError."""
        answer = self._method(method)(request, timeout=seconds)
        self.bed.truth.tell(f"{method} {brief(request)}: OK", "calls answered OK")
        return answer

    def _ask(self, method: str, request: Any) -> Any:
        """Sometimes twice at once, sometimes without waiting for the answer."""
        chance = self.chance.random()
        if chance < 0.1:
            with contextlib.suppress(grpc.RpcError):
                self._method(method)(request, timeout=self.chance.uniform(0.001, 0.1))
            self.bed.truth.tell(f"{method} {brief(request)}: abandoned", "calls abandoned")
        twin = self._method(method).future(request, timeout=CALL_SECONDS) if chance > 0.9 else None
        try:
            return self.once(method, request)
        except grpc.RpcError as error:
            self.bed.truth.tell(f"{method} {brief(request)}: {words(error)}", f"calls answered {error.code().name}")
            raise
        finally:
            if twin is not None:
                twin.exception()
                self.bed.truth.tell(
                    f"{method} {brief(request)}: the same call beside it: {twin.code()}", "calls doubled"
                )

    def _method(self, method: str) -> Any:
        if method.startswith("Node"):
            return getattr(csi_pb2_grpc.NodeStub(self.bed.node.channel), method)
        return getattr(csi_pb2_grpc.ControllerStub(self.bed.controller.channel), method)


def words(error: Exception) -> str:
    return f"{error.code().name} {error.details()}" if isinstance(error, grpc.RpcError) else str(error)


def brief(request: Any) -> str:
    names = ("name", "volume_id", "snapshot_id", "source_volume_id", "target_path")
    return " ".join(str(getattr(request, name, "")) for name in names if getattr(request, name, ""))
