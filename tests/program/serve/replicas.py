"""Controllers that share a store and a directory of volumes, and callers that are as patient as the sidecars."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.provisioning.owners import LEASE
from csi_cinderlib.sealing import generate_key
from tests.program.serve.conftest import RETRIED, Calls, Start

PATIENCE = LEASE + 45
"""Seconds until the survivor has dealt with everything that the other one left."""

Rows = list[tuple[str, str]]
"""Id and status of each record of a volume, by id."""


class Site:
    """Controllers on one store and one back end.

    Args:
        store: the setting, in YAML's flow style.
        rows: what the store holds, asked of itself.
    """

    def __init__(self, store: str, rows: Callable[[], Rows], start: Start, base: Path) -> None:
        self.rows = rows
        self._start = start
        self._volumes = base / "volumes"
        self._config = (
            f"store: {store}\n"
            f"sealing_keys: [{{id: k, key: {generate_key()}}}]\n"
            "backends: {shared: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver,"
            f" options: {{loopfile_directories: [{self._volumes}]}}}}}}\n"
        )

    def controller(self, name: str, kill_at: str = "") -> DriverProcess:
        environment = {"CINDERLIB_FAULT_POINT": kill_at} if kill_at else {}
        return self._start("--mode", "controller", name=name, config=self._config, environment=environment)

    def files(self) -> list[str]:
        """The volumes on the back end, whatever the database says."""
        return sorted(path.name for path in self._volumes.glob("volume-*"))

    def everything(self) -> list[str]:
        """The same, and what is not finished there."""
        return sorted(path.name for path in self._volumes.rglob("*") if path.is_file() and path.name != ".lock")

    def is_whole(self, names: Sequence[str]) -> bool:
        """There is one volume for each of these names, in the store and on the back end, and nothing else."""
        rows = self.rows()
        assert [status for _, status in rows] == ["available"] * len(names)
        assert self.files() == [f"volume-{id}" for id, _ in rows]
        return True


def ask_both(site: Site, both: Sequence[DriverProcess], names: Sequence[str]) -> None:
    """Each name of each controller, twice, all at once; then delete them in the same way."""
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(32) as pool:
        asked = [(name, pool.submit(patiently, driver, name, codes)) for name in names for driver in (*both, *both)]
        answers = defaultdict(set)
        for name, answer in asked:
            answers[name].add(answer.result())
    found = [id for name in names for id in answers[name]]
    assert sorted(found) == [id for id, _ in site.rows()]
    assert codes <= set(RETRIED)
    assert site.is_whole(names)
    for driver in both:
        assert len(Calls(driver).volumes()) == len(names)
    with ThreadPoolExecutor(32) as pool:
        deleted = [pool.submit(delete_patiently, driver, id) for id in found for driver in both]
        for one in deleted:
            one.result()
    assert (site.everything(), site.rows()) == ([], [])


def patiently(driver: DriverProcess, name: str, codes: set[grpc.StatusCode]) -> str:
    """Create as the provisioner does: again and again, until there is an answer that is final."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return Calls(driver, timeout=60).create(name)
        except grpc.RpcError as error:
            codes.add(error.code())
            if error.code() not in RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def delete_patiently(driver: DriverProcess, volume_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return Calls(driver, timeout=60).delete(volume_id)
        except grpc.RpcError as error:
            if error.code() not in RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.1)
