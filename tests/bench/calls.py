"""Files entered and functions called by each RPC of one volume's life, on loop files, in all processes of the program.

    # python -m tests.bench.calls

A function counts once for each RPC, however often it is called. Functions that are not called in every recorded life are background
work, and are left out.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.demo.sandbox import private_mounts, sweep
from tests.bench.client import EXT4, LOOP_FILES, Client

LIVES = 3
ROOT = Path(__file__).parents[2]
LINE = "{:<28} {:>8} {:>10} {:>16} {:>16}"

Function = tuple[str, str]
"""Path below the package, and qualified name."""


class Window(grpc.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Tells the recorders which RPC is under way."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"\0")
        with path.open("r+b") as file:
            self._byte = mmap.mmap(file.fileno(), 1)
        self.recording = False
        self.rpcs: list[str] = []

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        if not self.recording:
            return continuation(client_call_details, request)
        self.rpcs.append(client_call_details.method.rpartition("/")[2])
        self._byte[0] = len(self.rpcs)
        try:
            return continuation(client_call_details, request)
        finally:
            self._byte[0] = 0


class Calls:
    """What was noted of each RPC, by process."""

    def __init__(self, path: Path, rpcs: list[str], main: int) -> None:
        self._main = main
        self._noted: dict[str, list[set[tuple[bool, Function]]]] = {}
        windows: list[set[tuple[bool, Function]]] = [set() for _ in rpcs]
        for line in path.read_text().splitlines():
            number, pid, file, function = line.split(" ")
            windows[int(number) - 1].add((int(pid) == main, (file, function)))
        for rpc, functions in zip(rpcs, windows, strict=True):
            self._noted.setdefault(rpc, []).append(functions)

    def __iter__(self) -> Iterator[tuple[str, set[Function], set[Function]]]:
        """Each RPC with the functions of the main process and those of the others."""
        for rpc, lives in self._noted.items():
            always = set.intersection(*lives)
            yield rpc, {name for is_main, name in always if is_main}, {name for is_main, name in always if not is_main}


@contextmanager
def recorded(directory: Path) -> Iterator[tuple[DriverProcess, Window]]:
    """A driver that is ready, all of whose processes have a recorder."""
    window = Window(directory / "window")
    (directory / "config.yaml").write_text(LOOP_FILES)
    environment = {
        "PYTHONPATH": f"{Path(__file__).parent / 'recorder'}{os.pathsep}{ROOT}",
        "CINDERLIB_BENCH_WINDOW": str(directory / "window"),
        "CINDERLIB_BENCH_CALLS": str(directory / "calls"),
    }
    driver = DriverProcess(directory, ("--config", str(directory / "config.yaml")), environment)
    try:
        driver.wait_until_ready()
        driver.channel = grpc.intercept_channel(driver.channel, window)
        yield driver, window
    finally:
        driver.stop()


def measure(directory: Path) -> Calls:
    """Record several lives, after one that fills caches."""
    with recorded(directory) as (driver, window):
        client = Client(driver)
        node_id = client.node_id()
        client.life("warm", EXT4, node_id)
        window.recording = True
        for number in range(LIVES):
            client.life(f"recorded-{number}", EXT4, node_id)
        return Calls(directory / "calls", window.rpcs, driver.pid)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="calls", description="Count files entered and functions called by each RPC.")
    parser.add_argument("--functions", action="store_true", help="name the functions, too")
    args = parser.parse_args()
    private_mounts()
    directory = Path(tempfile.mkdtemp(prefix="csi-cinderlib-calls-")).resolve()
    try:
        calls = measure(directory)
    finally:
        sweep(directory)
    print(LINE.format("RPC", "files", "functions", "main process", "driver process"))
    for rpc, ours, theirs in calls:
        files, functions = _counts(ours | theirs)
        print(LINE.format(rpc, files, functions, "{} / {}".format(*_counts(ours)), "{} / {}".format(*_counts(theirs))))
        if args.functions:
            print("\n".join(f"    {file} {name}" for file, name in sorted(ours | theirs)))
    return 0


def _counts(functions: set[Function]) -> tuple[int, int]:
    """Files and functions."""
    return len({file for file, _ in functions}), len(functions)


if __name__ == "__main__":
    sys.exit(main())
