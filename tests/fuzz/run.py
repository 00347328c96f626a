"""Requests one after another, each the same for the same seed and number; at rest in between, everything is looked at."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi_cinderlib.csi.v1 import csi_pb2
from tests.fuzz import judge, wild
from tests.fuzz.bed import Bed
from tests.fuzz.judge import Judge, Usage
from tests.fuzz.messages import Requests
from tests.fuzz.tidying import Tidying
from tests.fuzz.world import World

AT_ONCE = 16
RESTS = 12
"""In which everything is deleted and looked at."""
ODDNESS = {0.0: 8, 0.08: 50, 0.3: 30, 1.0: 12}
"""How probably a field is odd, and how many of the requests are so."""
WEIGHTS = {
    "CreateVolume": 6, "ControllerPublishVolume": 8, "NodeStageVolume": 14, "NodePublishVolume": 12, "NodeGetVolumeStats": 6,
    "NodeExpandVolume": 6, "ControllerExpandVolume": 3, "ControllerModifyVolume": 3, "CreateSnapshot": 3,
    "CreateVolumeGroupSnapshot": 3, "NodeUnpublishVolume": 3, "NodeUnstageVolume": 3, "ValidateVolumeCapabilities": 3, "GetCapacity": 2,
}  # fmt: skip
"""Of 1 for the other methods: what builds something is called more often than what takes it down."""
TIMEOUT = 60.0
SERVICES = ("Identity", "Controller", "GroupController", "Node")
METHODS: Sequence[MethodDescriptor] = tuple(
    method for service in SERVICES for method in csi_pb2.DESCRIPTOR.services_by_name[service].methods
)
_CUMULATED = tuple(accumulate(WEIGHTS.get(method.name, 1) for method in METHODS))


@dataclass
class Result:
    """What a run showed.

    Attributes:
        usages: of each process, at each rest.
    """

    judge: Judge = field(default_factory=Judge)
    usages: dict[str, list[Usage]] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0


def run(bed: Bed, seed: int, count: int, tell: Callable[[str], None]) -> Result:
    """Make `count` requests."""
    bed.driver.wait_until_ready()
    return _Run(bed, seed, tell).run(count)


class _Run:
    def __init__(self, bed: Bed, seed: int, tell: Callable[[str], None]) -> None:
        self._bed = bed
        self._seed = seed
        self._tell = tell
        self._result = Result()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        channel = bed.driver.channel
        node_id = channel.unary_unary("/csi.v1.Node/NodeGetInfo", _unchanged, csi_pb2.NodeGetInfoResponse.FromString)(
            b"", timeout=TIMEOUT
        ).node_id
        self._world = World(bed.kubelet, node_id)
        self._requests = Requests(
            self._world, (str(bed.foreign_mount), f"{bed.foreign_mount}/x", f"{bed.link}/x", str(bed.link))
        )
        self._tidying = Tidying(bed, self._world)
        self._calls = {method.full_name: _call(channel, _path(method)) for method in METHODS}
        self._unknown = [_call(channel, path) for path in wild.METHODS]

    def run(self, count: int) -> Result:
        began = time.monotonic()
        for number in range(count):
            self._request(number)
            self._result.requests += 1
            if (number + 1) % -(-count // RESTS) == 0 or number + 1 == count:
                self._rest()
        self._result.seconds = time.monotonic() - began
        for name, samples in self._result.usages.items():
            for problem in judge.growth(name, samples):
                self._result.judge.find(problem)
        return self._result

    def _request(self, number: int) -> None:
        rng = random.Random(self._seed << 32 | number)
        method = rng.choices(METHODS, cum_weights=_CUMULATED)[0]
        message = self._requests.make(rng, method, rng.choices(list(ODDNESS), list(ODDNESS.values()))[0])
        kind = rng.random()
        if kind < 0.003:
            wild.connect(rng, self._bed.driver.socket)
        elif kind < 0.005:
            self._send(number, "unknown", rng.choice(self._unknown), message.SerializeToString(), hurry="or not sent")
        elif kind < 0.0053:
            self._send(number, method.name, self._calls[method.full_name], rng.randbytes(100) * (wild.HUGE // 100))
        elif kind < 0.07:
            payload = wild.distort(rng, message.SerializeToString())
            self._send(number, method.name, self._calls[method.full_name], payload)
        else:
            hurry = rng.choices(("", "deadline", "cancel"), (96, 2, 2))[0]
            self._send(
                number, method.name, self._calls[method.full_name], message.SerializeToString(), method, message, hurry
            )

    def _send(
        self, number: int, name: str, call: Any, payload: bytes, method: MethodDescriptor | None = None,
        message: Message | None = None, hurry: str = "",
    ) -> None:  # fmt: skip
        self._places.acquire()
        try:
            future = call.future(payload, timeout=0.001 if hurry == "deadline" else TIMEOUT)
        except BaseException:
            self._places.release()
            raise
        if hurry == "cancel":
            future.cancel()
        future.add_done_callback(partial(self._answered, number, name, method, message, hurry))

    def _answered(
        self, number: int, name: str, method: MethodDescriptor | None, message: Message | None, hurry: str, future: Any
    ) -> None:
        try:
            code, details = future.code(), future.details() or ""
            self._result.judge.answer(number, name, code, details, is_hurried=bool(hurry))
            if code is grpc.StatusCode.OK and method is not None:
                response = GetMessageClass(method.output_type).FromString(future.result())
                self._world.learn(name, message, response)
        except BaseException as error:
            self._result.judge.find(f"the fuzzer: {type(error).__name__}", str(error))
        finally:
            self._places.release()

    def _rest(self) -> None:
        """Let everything end, delete everything, and look at what is left."""
        for _ in range(AT_ONCE):
            self._places.acquire()
        verdict = self._result.judge
        for problem in (*self._tidying.tidy(), *self._bed.leftovers(), *self._bed.damage()):
            verdict.find(problem)
        verdict.read_log(self._bed.log())
        for name, pid in self._bed.processes().items():
            self._result.usages.setdefault(name, []).append(judge.usage(pid))
        told = ", ".join(
            f"{name} {samples[-1].memory // 1024} MiB {samples[-1].threads} threads {samples[-1].descriptors} descriptors"
            for name, samples in self._result.usages.items()
        )
        self._tell(f"{self._result.requests:9} requests: {told}; {len(verdict.findings)} kinds of findings")
        for _ in range(AT_ONCE):
            self._places.release()


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _call(channel: grpc.Channel, path: str) -> Any:
    return channel.unary_unary(path, request_serializer=_unchanged, response_deserializer=_unchanged)


def _unchanged(data: bytes) -> bytes:
    return data
