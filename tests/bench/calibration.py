"""What this machine does in this very minute: every figure is quoted against one of these."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc

MADE = 9


def median(attempt: Callable[[], object], times: int) -> float:
    """Seconds that the median of so many attempts takes."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        attempt()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 2]


def python_with_grpc() -> float:
    """A fresh Python that imports gRPC and ends: the floor under every start."""
    return median(lambda: subprocess.run([sys.executable, "-c", "import grpc"], check=True), 7)


def sync(directory: Path) -> float:
    """A write of 4 KiB that is on the disk: the floor under every durable answer."""
    with (directory / "calibration").open("wb", buffering=0) as file:

        def write() -> None:
            os.pwrite(file.fileno(), bytes(4096), 0)
            os.fdatasync(file.fileno())

        return median(write, 200)


def empty_call(directory: Path) -> float:
    """A gRPC call over a unix socket that does nothing: the floor under every call."""
    handler = grpc.method_handlers_generic_handler(
        "Nothing", {"Do": grpc.unary_unary_rpc_method_handler(lambda request, _: request)}
    )
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[handler])
    server.add_insecure_port(f"unix:{directory}/calibration.sock")
    server.start()
    with grpc.insecure_channel(f"unix:{directory}/calibration.sock") as channel:
        call = channel.unary_unary("/Nothing/Do", request_serializer=None, response_deserializer=None)
        call(b"")
        seconds = median(lambda: call(b""), 300)
    server.stop(None).wait()
    return seconds


def make_ext4(directory: Path) -> tuple[float, float]:
    """mkfs.ext4 of a sparse GiB: what most of a mounted volume's life consists of. Seconds, and processor seconds."""
    file = directory / "calibration.ext4"

    def make() -> None:
        file.unlink(missing_ok=True)
        with file.open("wb") as made:
            made.truncate(2**30)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(file)], check=True)

    used = _used_by_children()
    seconds = median(make, MADE)
    return seconds, (_used_by_children() - used) / MADE


def python_work() -> float:
    """A fixed piece of Python's own work: the floor under everything that waits for nothing."""
    text = json.dumps({f"key-{number}": [str(number)] * 10 for number in range(100)})
    return median(lambda: [json.loads(text) for _ in range(20)], 50)


def _used_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
